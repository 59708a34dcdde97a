"""torchvision beside a CPU build of torch; each case in a process of its own."""

import subprocess
import sys

import pytest


def run(code: str) -> str:
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_models_and_transforms_can_be_imported():
    out = run("""if True:
        from model.nn.torchvision_compat import import_torchvision
        import_torchvision()
        import torch, torchvision.models, torchvision.transforms.v2 as transforms
        print(torchvision.models.resnet18(weights=None)(torch.zeros(1, 3, 64, 64)).shape[1])
        print(tuple(transforms.RandomHorizontalFlip(1.0)(torch.eye(2)[None])[0, 0].tolist()))
        print(import_torchvision("transforms.v2") is transforms)
    """)
    assert out.split("\n") == ["1000", "(0.0, 1.0)", "True", ""]


def test_nothing_is_defined_where_the_real_operators_are():
    out = run("""if True:
        import torch
        def fail(path):
            raise OSError(path)
        torch.ops.load_library = fail  # a real extension would define them a second time
        library = torch.library.Library("torchvision", "DEF")  # as the extension would
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.impl("nms", lambda boxes, scores, limit: scores.argsort(), "CPU")
        from model.nn import torchvision_compat
        print(torchvision_compat.define_missing_operators())
        torchvision_compat.import_torchvision("models")
        print(torch.ops.torchvision.nms(torch.zeros(2, 4), torch.tensor([2.0, 1.0]), 0.5).tolist())
    """)
    assert out.split("\n") == ["()", "[1, 0]", ""]


def test_an_extension_that_loads_leaves_nothing_to_define():
    out = run("""if True:
        import torch
        from model.nn import torchvision_compat
        asked = []
        torch.ops.load_library = asked.append
        print(torchvision_compat.define_missing_operators())
        print([path.rpartition("/")[2] for path in asked])
        print(torchvision_compat._libraries)
    """)
    assert out.split("\n") == ["()", "['_C.so']", "[]", ""]


def test_defining_twice_is_defining_once():
    out = run("""if True:
        from model.nn import torchvision_compat
        torchvision_compat._load_extension = lambda: False
        print(torchvision_compat.define_missing_operators())
        print(torchvision_compat.define_missing_operators())
    """)
    assert out.split("\n") == ["('nms', 'qnms')", "()", ""]


@pytest.mark.parametrize("name", ["", "models"])
def test_a_missing_torchvision_says_what_to_install(name):
    out = run(f"""if True:
        import sys
        class Hide:
            def find_spec(self, wanted, path=None, target=None):
                if wanted.partition(".")[0] == "torchvision":
                    raise ModuleNotFoundError(wanted)
        import torch
        from model.errors import BackendUnavailable
        from model.nn import torchvision_compat
        torchvision_compat.importlib.util.find_spec = lambda name: None
        sys.meta_path.insert(0, Hide())
        try:
            torchvision_compat.import_torchvision({name!r})
        except BackendUnavailable as error:
            print("umzero[train]" in str(error))
    """)
    assert out == "True\n"
