"""Losses and errors against sums over single images."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from anytime_core.data import loader
from anytime_core.data.loader import EvaluationData, Normalisation
from anytime_core.training.evaluate import ErrorTally, Evaluation, losses_of, wrong_of

DRAWS = torch.Generator().manual_seed(0)
LOGITS = torch.randn(4, 11, 5, generator=DRAWS, dtype=torch.float64)
LABELS = torch.randint(5, (11,), generator=DRAWS)


def one_loss(logits: Tensor, label: int) -> float:
    """-log softmax, in Python."""
    return math.log(math.fsum(math.exp(logit) for logit in logits.tolist())) - logits[label].item()


def one_wrong(logits: Tensor, label: int) -> bool:
    values = logits.tolist()
    return any(value > values[label] for value in values)


def by_hand(logits: Tensor, labels: Tensor) -> tuple[list[float], list[float]]:
    """Mean losses and errors in percent of each prediction."""
    count = len(labels)
    losses = [math.fsum(map(one_loss, images, labels.tolist())) / count for images in logits]
    errors = [100 * sum(map(one_wrong, images, labels.tolist())) / count for images in logits]
    return losses, errors


def test_losses_and_wrong_answers_are_those_of_single_images() -> None:
    losses, errors = by_hand(LOGITS, LABELS)
    assert losses_of(LOGITS, LABELS).tolist() == pytest.approx(losses, rel=1e-12)
    assert wrong_of(LOGITS, LABELS).tolist() == pytest.approx([error * 11 / 100 for error in errors])


@pytest.mark.parametrize("sizes", [[11], [5, 6], [1, 2, 8], [1] * 11])
def test_a_tally_does_not_depend_on_the_batches(sizes) -> None:
    tally, first = ErrorTally(4, torch.device("cpu")), 0
    for size in sizes:
        logits, labels = LOGITS[:, first : first + size], LABELS[first : first + size]
        tally.add(losses_of(logits, labels), wrong_of(logits, labels), size)
        first += size
    losses, errors = tally.read(11)
    expected = by_hand(LOGITS, LABELS)
    assert losses == pytest.approx(expected[0], rel=1e-12)
    assert errors == pytest.approx(expected[1], rel=1e-12)


class Twice(nn.Module):
    """Two predictions from images [N,1,1,K]: the pixels, and their opposite. Dropout would spoil them in training."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.9)

    def forward(self, x: Tensor, depth: int | None = None) -> Tensor:
        assert depth is None
        assert not torch.is_grad_enabled()
        logits = self.dropout(x).flatten(1)
        return torch.stack([logits, -logits])


def test_a_network_is_evaluated_over_all_batches(monkeypatch) -> None:
    monkeypatch.setattr(loader, "EVALUATION_BATCH", 4)
    images = torch.randint(9, (11, 1, 1, 5), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    data = EvaluationData(images, LABELS, Normalisation(torch.tensor(4.0), torch.tensor(2.0)))
    evaluation = Evaluation(Twice().train(), data, 2)
    losses, errors = evaluation()
    assert evaluation() == (losses, errors)
    logits = (images.double().flatten(1) - 4) / 2
    expected, _ = by_hand(torch.stack([logits, -logits]), LABELS)
    assert losses == pytest.approx(expected, rel=1e-6)
    wrong = [
        sum(int(row.argmax() != label) for row, label in zip(rows, LABELS, strict=True)) for rows in (logits, -logits)
    ]
    assert errors == pytest.approx([100 * count / 11 for count in wrong])
    assert torch.is_grad_enabled()
