"""Recipes: what `umzero train NAME` runs. Add one, and the command knows it."""

from dataclasses import replace

from model.config import BackboneConfig, HGAConfig, MIMConfig, ModelConfig
from model.errors import ConfigError
from model.training.config import TrainingConfig

EFFICIENTNET_LITE0 = ModelConfig()

# The field's standard; for a GPU.
RESNET101 = ModelConfig(
    backbone=BackboneConfig("resnet101", 448, ("layer3", "layer4")),
    hga=HGAConfig(stages=("layer3", "layer4"), channels=(64, 64)),
    mim=MIMConfig(stages=("layer4",), width=256),
    foreground=("layer3", "layer4"),
)

# For a CPU under the data set's own name, for a GPU with -resnet101 behind it.
CUB_LICENCE = (
    "The network was trained on photographs and attributes of CUB-200-2011 (Wah et al., California "
    "Institute of Technology, 2011), which is given out for research."
)
SUN_LICENCE = (
    "The network was trained on photographs and attributes of the SUN Attribute Database "
    "(Patterson and Hays, CVPR 2012), which is given out for research; the photographs belong to "
    "their authors."
)
AWA2_LICENCE = (
    "The network was trained on Animals with Attributes 2 (Xian et al., 2017): photographs, each "
    "with a licence of its own that comes with the data set, and attributes of Osherson et al. "
    "(1991) and Kemp et al. (2006)."
)

RECIPES = {
    "birds": TrainingConfig(
        model=EFFICIENTNET_LITE0,
        licence=(
            "The network was trained on photographs and attributes of CUB-200-2011 (Wah et al., "
            "California Institute of Technology, 2011), which is given out for research."
        ),
    ),
    "folder": TrainingConfig(model=EFFICIENTNET_LITE0),
    "folder-resnet101": TrainingConfig(model=RESNET101),
    "cub": TrainingConfig(model=EFFICIENTNET_LITE0, licence=CUB_LICENCE),
    "cub-resnet101": TrainingConfig(model=RESNET101, licence=CUB_LICENCE),
    "sun": TrainingConfig(model=EFFICIENTNET_LITE0, licence=SUN_LICENCE),
    "sun-resnet101": TrainingConfig(model=RESNET101, licence=SUN_LICENCE),
    "awa2": TrainingConfig(model=EFFICIENTNET_LITE0, licence=AWA2_LICENCE),
    "awa2-resnet101": TrainingConfig(model=RESNET101, licence=AWA2_LICENCE),
}


def recipe(
    name: str, seed: int, hga: bool = True, mim: bool = True, contrastive: bool = True
) -> TrainingConfig:
    """A recipe by its name, with parts switched off for ablation.

    Raises:
        ConfigError: there is no such recipe.
    """
    if name not in RECIPES:
        raise ConfigError(f"no recipe is called {name!r}; there are {', '.join(RECIPES)}")
    config = RECIPES[name]
    model = replace(
        config.model,
        hga=replace(config.model.hga, enabled=hga),
        mim=replace(config.model.mim, enabled=mim),
    )
    weight = config.mim.contrastive_weight if contrastive else 0.0
    return replace(
        config, model=model, seed=seed, mim=replace(config.mim, contrastive_weight=weight)
    )
