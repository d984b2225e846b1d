"""VGG on images in RecordIO files, by examples/vgg_records.yaml; --quick makes files of its own and a narrow network of it.

    python examples/vgg_records.py --train train.rec --validation val.rec --backend mxnet --devices cuda:0,cuda:1
    python examples/vgg_records.py --quick --backend tensorflow
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from polymodel.cli.training_run import run
from polymodel.config import experiment
from polymodel.config import file as config_file
from polymodel.data import write_images

CONFIG = Path(__file__).with_name("vgg_records.yaml")
NORMALIZE = "{normalize: {mean: [123.68, 116.779, 103.939], std: [58.393, 57.12, 57.375], scale: 1}}"
QUICK = (
    "model.name=vgg11",
    "model.args={classes: 4, image: 32, width: 8, hidden: 32, dropout: 0.1}",
    f"data.transforms=[{{resize_short: {{size: 36}}}}, {{rotate: {{degrees: 10}}}}, {{random_crop: {{size: 32}}}}, mirror, {NORMALIZE}]",
    "optimizer.lr=0.005",
    "epochs=3",
    "batch_size=16",
    "devices=[cpu:0, cpu:1]",
)


def write_squares(path: Path, count: int, seed: int) -> Path:
    """Write noisy images of 40 x 40 in which a square of one of four colours lies somewhere; the colour is the class."""
    rng = np.random.default_rng(seed)
    colours = np.array([[230, 40, 40], [40, 230, 40], [40, 40, 230], [230, 230, 40]])
    labels = rng.integers(0, 4, count)
    images = rng.integers(0, 120, (count, 40, 40, 3))
    for image, label, (y, x) in zip(images, labels, rng.integers(4, 16, (count, 2)), strict=True):
        image[y : y + 20, x : x + 20] = colours[label] + rng.integers(-20, 20, 3)
    write_images(path, zip(images.astype(np.uint8), labels, strict=True), "JPEG")
    return path


def main() -> None:
    """Read the configuration with its changes, and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, help=".rec file to train on")
    parser.add_argument("--validation", type=Path, help=".rec file to validate on")
    parser.add_argument("--backend", help="torch, tensorflow or mxnet")
    parser.add_argument("--devices", help="that share each batch, with commas between")
    parser.add_argument("--output", type=Path, default=Path("runs/vgg-records"))
    parser.add_argument("--quick", action="store_true", help="small files and a narrow network")
    options = parser.parse_args()
    train, validation, changes = options.train, options.validation, []
    if options.quick:
        options.output.mkdir(parents=True, exist_ok=True)
        train = write_squares(options.output / "train.rec", 256, 0)
        validation = write_squares(options.output / "val.rec", 64, 1)
        changes += QUICK
    if train is None or validation is None:
        parser.error("give --train and --validation, or --quick")
    changes += [f"data.source={train.resolve()}", f"data.validation.source={validation.resolve()}"]
    if options.devices:
        changes.append(f"devices=[{options.devices}]")
    config = config_file.read(CONFIG, changes)
    model = experiment.build_model(config)
    data = experiment.build_data(config, model)
    run(config, options.output / "run", experiment.build_trainer(config, model, options.backend), data)


if __name__ == "__main__":
    main()
