"""Each loss one named function. B images, C classes, D embedding; all embeddings are unit rows."""

import torch
from torch import Tensor
from torch.nn import functional


def classification_loss(
    embedding: Tensor, labels: Tensor, prototypes: Tensor, temperature: float
) -> Tensor:
    """Cross-entropy over the training classes: pulls an image to its prototype, off the others.

    Args:
        embedding: (B, D). labels: (B,), rows of `prototypes`. prototypes: (C, D).
    """
    return functional.cross_entropy(embedding @ prototypes.T / temperature, labels)


def prototype_contrastive_loss(
    embedding: Tensor, labels: Tensor, prototypes: Tensor, temperature: float
) -> Tensor:
    """Seen from the prototypes: each class of the batch prefers its own images to all others.

    For a class c of the batch: -mean over its images i of log softmax_i(p_c . e_i / temperature),
    the softmax over image i and the images of other classes. Compact within a class, apart
    between classes; the mirror image of `classification_loss`, whose softmax is over prototypes.

    Source: supervised contrastive learning, Khosla et al., NeurIPS 2020, arXiv:2004.11362 (L_out),
    with prototypes as anchors as in Li et al., ICLR 2021, arXiv:2005.04966.

    Args:
        embedding: (B, D). labels: (B,), rows of `prototypes`. prototypes: (C, D).
    """
    present = torch.unique(labels)
    similarity = prototypes[present] @ embedding.T / temperature  # (classes, B)
    own = labels[None] == present[:, None]  # (classes, B)
    others = similarity.masked_fill(own, -torch.inf).logsumexp(dim=1, keepdim=True)
    per_image = torch.logaddexp(similarity, others) - similarity  # -log softmax of each image
    per_class: Tensor = (per_image * own).sum(dim=1) / own.sum(dim=1)
    return per_class.mean()
