import pytest


def test_the_learning_rate_falls_to_zero(make_trainer):
    trainer, train, _ = make_trainer(gro_learning_rate=0.5, gro_decay=True, gro_epochs=2)
    seen, losses = [], trainer.stage_loss
    trainer.stage_loss = lambda batch: seen.append(trainer.optimizer.param_groups[1]["lr"]) or losses(batch)
    trainer.fit_gro(train)
    steps = 2 * len(train)
    assert seen == pytest.approx([0.5 * (1 - step / steps) for step in range(steps)])
    assert [group["lr"] for group in trainer.optimizer.param_groups] == pytest.approx([0, 0])
