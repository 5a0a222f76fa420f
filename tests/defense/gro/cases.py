"""What tests of GRO look at inside a GRO phase."""

from pipeline import weights_of

from recbole_gro import GROTrainer, create_scorer
from recbole_gro.defense.gro.swap_rules import create_swap_rule


class KeepsStudent(GROTrainer):
    """Remembers the student that is dropped at the end, and what both models started from."""

    def _new_student(self, dataset):
        self.student = super()._new_student(dataset)
        self.student_at_start = weights_of(self.student)
        self.target_at_start = weights_of(self.model)
        return self.student


def with_student(trainer, train):
    """The trainer as it is inside the GRO phase, its student, and a batch."""
    student = trainer._new_student(train._dataset)
    trainer.student_scorer = create_scorer(student)
    for model in (trainer.model, student):
        model.train()
    return trainer, student, next(iter(train))


def swap_term(name, config, lists):
    return create_swap_rule(name, config).term(*lists)
