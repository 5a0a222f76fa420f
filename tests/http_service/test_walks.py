import sqlite3

from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_gro.http_service.known_histories import TABLES
from recbole_gro.http_service.walks import NO_CHANGE, Change, Walks

ACTIONS = st.lists(
    st.tuples(st.sampled_from(["new", "part", "count", "follow", "follow", "follow"]), st.integers(0, 99)), max_size=60
)


def chains_of(following):
    """Chains of lines by a dict of the next one of each."""
    firsts = {*following} - {after for after in following.values() if after}
    chains = []
    for line in sorted(firsts):
        chains.append([line])
        while following[chains[-1][-1]]:
            chains[-1].append(following[chains[-1][-1]])
    return chains


@settings(deadline=None)
@given(ACTIONS)
def test_changes_add_up_to_the_chains_that_are_there(actions):
    database = sqlite3.connect(":memory:")
    database.executescript(TABLES)
    walks, following, flagged = Walks(database), {}, set()
    total = NO_CHANGE

    def new_line():
        place = "INSERT INTO line (judge, key, counted, fork_of, forked_at, history) VALUES (1, 1, 0, 0, 0, ?)"
        line = database.execute(place, (walks.new_history(),)).lastrowid
        following[line] = None
        return line

    for action, number in actions:
        lines = [*following]
        line = lines[number % len(lines)] if lines else None
        if action == "new" or line is None:
            new_line()
            total += Change(1, 0)
        elif action == "count":
            total += walks.count_flagged(line)
            flagged.add(line)
        elif action == "part":
            total += walks.part(line)
            following = {one: None if after == line or one == line else after for one, after in following.items()}
        else:  # a new window, or one that has grown to it, follows the end of a chain
            assert walks.is_open(line) == (following[line] is None)
            if walks.is_open(line):
                after = new_line()
                total += Change(1, 0) + walks.join(line, after)
                following[line] = after
        chains = chains_of(following)
        assert total.histories == len(chains)
        assert total.flagged == sum(bool(flagged & {*chain}) for chain in chains)
    database.close()


def test_lines_that_were_deleted_by_hand_change_nothing():
    database = sqlite3.connect(":memory:")
    database.executescript(TABLES)
    walks = Walks(database)
    assert (walks.has(3), walks.is_open(3)) == (False, False)
    assert walks.count_flagged(3) == walks.part(3) == walks.join(3, 4) == NO_CHANGE
    database.close()
