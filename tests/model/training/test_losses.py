import numpy as np
import torch

from model.training.losses import classification_loss, prototype_contrastive_loss


def unit_rows(*shape: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(*shape, dtype=torch.float64), dim=-1)


def test_the_classification_loss_is_the_mean_surprise_of_the_own_class() -> None:
    images, prototypes = unit_rows(6, 4), unit_rows(3, 4)
    labels = torch.tensor([0, 1, 2, 2, 1, 0])
    powers = np.exp(images.numpy() @ prototypes.numpy().T / 0.2)
    expected = -np.log(powers[range(6), labels] / powers.sum(axis=1)).mean()
    np.testing.assert_allclose(classification_loss(images, labels, prototypes, 0.2), expected)


def test_the_contrastive_loss_sets_each_image_against_the_other_classes_images() -> None:
    images, prototypes = unit_rows(5, 4), unit_rows(3, 4)
    labels = torch.tensor([0, 0, 2, 2, 2])
    powers = np.exp(prototypes.numpy() @ images.numpy().T / 0.5)
    own = {0: [0, 1], 2: [2, 3, 4]}
    of_class = []
    for c, members in own.items():
        others = sum(powers[c, j] for j in range(5) if j not in members)
        of_class.append(np.mean([-np.log(powers[c, i] / (powers[c, i] + others)) for i in members]))
    actual = prototype_contrastive_loss(images, labels, prototypes, 0.5)
    np.testing.assert_allclose(actual, np.mean(of_class))


def test_a_batch_of_one_class_has_nothing_to_contrast_and_finite_gradients() -> None:
    images = unit_rows(3, 4).requires_grad_()
    loss = prototype_contrastive_loss(
        images, torch.zeros(3, dtype=torch.long), unit_rows(2, 4), 0.1
    )
    loss.backward()
    assert loss.item() == 0
    assert torch.isfinite(images.grad).all()
