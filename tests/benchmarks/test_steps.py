import pytest
from benchmarks.cases import BenchmarkCases


@pytest.mark.every
class TestSteps(BenchmarkCases):
    name, tiny, long = "steps", "--dataset=steam --steps=1 --train_batch_size=4", "--steps=1000"
    bad = ("--dataset=ml-2m", "invalid choice: 'ml-2m'")
    prints = tuple(
        rf"\| {model} \| {stage} \| \d+ {unit} \| \d+\.\d \|"
        for model, of_batch in (("BERT4Rec", "windows"), ("NARM", "positions"))
        for stage, unit in (("target", of_batch), ("GRO", of_batch), ("surrogate", "lists"))
    )
