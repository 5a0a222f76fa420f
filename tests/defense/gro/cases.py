"""GRO phases that tests look into."""

from pipeline import weights_of

from recbole_gro import GROTrainer, create_scorer
from recbole_gro.defense.gro.swap_rules import create_swap_rule


class KeepsStudent(GROTrainer):
    """Keep the student after training, and the weights that both models start from."""

    def _new_student(self, dataset):
        self.student = super()._new_student(dataset)
        self.student_at_start = weights_of(self.student)
        self.target_at_start = weights_of(self.model)
        return self.student


def with_student(trainer, train):
    """Return the trainer in the state of a GRO phase, its student, and a batch."""
    student = trainer._new_student(train._dataset)
    trainer.student_scorer = create_scorer(student)
    for model in (trainer.model, student):
        model.train()
    return trainer, student, next(iter(train))


def swap_term(name, config, lists):
    return create_swap_rule(name, config).term(*lists)
