from pipeline import untrained

from recbole_gro import GROTrainer


def test_epochs_are_as_many_as_the_steps_take(make_loaders, tmp_path):
    for steps, epochs in ((1, 2), (None, 2), (16, 4), (17, 5)):
        config, train, *_ = make_loaders(gro_epochs=2, gro_steps=steps, n_layers=1, output_dir=str(tmp_path))
        trainer = GROTrainer(config, untrained(config, train))
        trainer.fit_gro(_Batches(train, 4), saved=False)
        assert sorted(trainer.train_loss_dict) == list(range(epochs))


class _Batches:
    """The first batch of a loader, n times per epoch."""

    def __init__(self, loader, n):
        self._dataset, self.batch, self.n = loader._dataset, next(iter(loader)), n

    def __len__(self):
        return self.n

    def __iter__(self):
        return iter([self.batch] * self.n)
