import pytest

from recbole_gro.report.document import (
    Bullets,
    Heading,
    Paragraph,
    Picture,
    Table,
    csv_text,
    html,
    inline,
    markdown,
    write_document,
)

BLOCKS = [
    Heading("Numbers"),
    Paragraph("All of them."),
    Table("Two. In full.", ["name", "side", "n"], [["a|b", "<i>", "1"], ["c", "&amp;", "22"]], labels=2),
    Bullets(["one", "two\nlines"]),
    Picture("a.png", b"\x89PNG", 'a "line"', "A line."),
]


def test_markdown():
    assert markdown("A *page*", BLOCKS).splitlines() == [
        r"# A \*page\*",
        "",
        "## Numbers",
        "",
        "All of them.",
        "",
        r"| name   | side      |   n |",
        r"|:-------|:----------|----:|",
        r"| a\|b   | &lt;i>    |   1 |",
        r"| c      | &amp;amp; |  22 |",
        "",
        "Two. In full.",
        "",
        "- one",
        "- two lines",
        "",
        '![a "line"](a.png)',
        "",
        "A line.",
    ]


def test_html():
    page = html("A <page>", BLOCKS)
    for part in (
        "<title>A &lt;page&gt;</title>",
        '<th scope="col" class="label">side</th>\n<th scope="col">n</th>',
        '<th scope="row" class="label">a|b</th>\n<th scope="row" class="label">&lt;i&gt;</th>\n<td>1</td>',
        "<td>22</td>",
        'aria-label="Two"',
        '<img src="data:image/png;base64,iVBORw==" alt="a &#34;line&#34;">',
        "<li>two\nlines</li>",
        """content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">""",
        'name="viewport"',
    ):
        assert part in page


@pytest.mark.parametrize("text", ["p <0.001 & more", "gro_lambda 0.1", "a < b > c"])
def test_plain_text_stays_plain_in_markdown(text):
    assert inline(text) == text


def test_a_document_is_written_with_its_pictures_and_numbers(tmp_path):
    write_document("Title", BLOCKS, "a,b\n1,2\n", tmp_path / "new")
    files = {file.name: file.read_bytes() for file in (tmp_path / "new").iterdir()}
    assert set(files) == {"a.png", "report.html", "report.md", "results.csv"}
    assert files["a.png"] == b"\x89PNG"
    assert files["report.md"].decode() == markdown("Title", BLOCKS)
    assert files["report.html"].decode() == html("Title", BLOCKS)
    assert files["results.csv"] == b"a,b\n1,2\n"


def test_numbers_are_written_before_the_parts_of_a_document_are_made(tmp_path):
    def parts():
        yield Heading("Numbers")
        raise RuntimeError("no font")

    with pytest.raises(RuntimeError, match="no font"):
        write_document("Title", parts(), "a,b\n1,2\n", tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["results.csv"]
    write_document("Title", iter(BLOCKS), "a,b\n1,2\n", tmp_path)
    assert (tmp_path / "report.html").read_text() == html("Title", BLOCKS)


def test_csv_text_quotes_what_needs_it_and_leaves_none_empty():
    text = csv_text(["name", "n"], [["a,b", 1], [None, 0.1]])
    assert text.splitlines() == ["name,n", '"a,b",1', ",0.1"]
