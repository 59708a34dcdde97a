"""What `umzero train NAME` offers."""

import pytest

from model.errors import ConfigError
from model.training.recipes import RECIPES, recipe


@pytest.mark.parametrize("name", ["cub", "sun", "awa2"])
def test_a_data_set_of_the_field_has_a_recipe_for_a_cpu_and_one_for_a_gpu(name: str) -> None:
    light, heavy = RECIPES[name], RECIPES[f"{name}-resnet101"]

    assert light.model.backbone.name.startswith("efficientnet")
    assert (heavy.model.backbone.name, heavy.model.backbone.input_size) == ("resnet101", 448)
    assert light.licence == heavy.licence
    assert len(light.licence) > 50


def test_an_unknown_recipe_is_told_which_there_are() -> None:
    with pytest.raises(ConfigError, match="awa2-resnet101"):
        recipe("imagenet", 0)
