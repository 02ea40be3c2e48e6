"""
Write the signals of config/networks.yaml: sounds that are made, text that is drawn, and a photograph.

Run it as python docs/network_signals.py FOLDER. The photograph and the font are those that matplotlib ships; nothing is
downloaded, and the same versions write the same bytes.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib import cbook, font_manager
from PIL import Image, ImageDraw, ImageFont
from scipy.signal import lfilter

TRIALS = 8
VOWELS = (
    (730, 1090, 2440),
    (270, 2290, 3010),
    (300, 870, 2240),
    (530, 1840, 2480),
    (570, 840, 2410),
    (440, 1020, 2240),
)
"""Formants in hertz of six vowels [Peterson and Barney, 1952]."""
WORDS = (
    "activation paths", "sparse coding", "stripe norm 0.28", "convolution", "thresholds", "coherence .80",
    "Towards CNNs", "27 layers of 8", "random signs", "interference", "dictionary A", "Welch bound",
)  # fmt: skip


def vowel(rng: np.random.Generator, length: int, rate: int) -> np.ndarray:
    """A voiced sound: pulses with a wavering pitch, through three resonances that glide between two vowels."""
    pitch = rng.uniform(90, 260) * (1 + 0.1 * np.sin(2 * np.pi * 5 * np.arange(length) / rate))
    phase = np.cumsum(pitch / rate)
    sound = (np.diff(np.floor(phase), prepend=0) > 0).astype(float) + 0.003 * rng.standard_normal(length)
    first, second = (VOWELS[i] for i in rng.integers(len(VOWELS), size=2))
    for low, high in zip(first, second, strict=True):
        frequency = rng.uniform(min(low, high), max(low, high))
        radius = np.exp(-np.pi * 90 / rate)
        sound = lfilter([1 - radius], [1, -2 * radius * np.cos(2 * np.pi * frequency / rate), radius**2], sound)
    return 0.3 * sound / np.abs(sound).max()


def tones(rng: np.random.Generator, length: int, rate: int) -> np.ndarray:
    """Notes of one to three harmonic tones, each of a quarter of a second, which die away."""
    sound, note = np.zeros(length), rate // 4
    for start in range(0, length, note):
        time = np.arange(min(note, length - start)) / rate
        for pitch in 55 * 2 ** (rng.integers(0, 48, size=rng.integers(1, 4)) / 12):
            for harmonic in range(1, 9):
                decay = np.exp(-6 * time) / harmonic
                sound[start : start + note] += decay * np.sin(
                    2 * np.pi * harmonic * pitch * time + rng.uniform(0, 6.28)
                )
    return 0.5 * sound / np.abs(sound).max()


def text(rng: np.random.Generator, height: int, width: int, lines: int) -> np.ndarray:
    """Dark words on light ground, shape (3, height, width), from -1 to 1."""
    image = Image.new("RGB", (width, height), tuple(int(n) for n in rng.integers(190, 256, 3)))
    draw, file = ImageDraw.Draw(image), font_manager.findfont("DejaVu Sans")
    for line in range(lines):
        font = ImageFont.truetype(file, int(rng.uniform(0.5, 0.75) * height / lines))
        place = (int(rng.integers(0, 12)), line * height // lines + int(rng.integers(0, height // lines // 5 + 1)))
        draw.text(place, WORDS[rng.integers(len(WORDS))], fill=tuple(int(n) for n in rng.integers(0, 90, 3)), font=font)
    return np.moveaxis(np.asarray(image, dtype=np.float32) / 127.5 - 1, 2, 0)


def faces(rng: np.random.Generator, size: int) -> np.ndarray:
    """A crop of a photograph with a face, at a scale of its own, shape (3, size, size), from -1 to 1."""
    photograph = Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)).convert("RGB")
    side = int(rng.uniform(120, 420))
    left, top = (int(rng.integers(0, n - side)) for n in photograph.size)
    crop = photograph.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BILINEAR)
    return np.moveaxis((np.asarray(crop, dtype=np.float32) - 127.5) / 128, 2, 0)


def main(folder: Path) -> None:
    """Write a file for each network."""
    rng = np.random.default_rng(2026)
    each = range(TRIALS)
    frames = np.stack([vowel(rng, 1024, 16000) for _ in each])
    frames = (frames - frames.mean(axis=1, keepdims=True)) / frames.std(axis=1, keepdims=True)
    lines = np.stack([text(rng, 96, 160, 3) for _ in each])
    speech = np.stack([vowel(rng, 4096, 16000) for _ in each])
    made = {
        "speech": speech,
        # What a voice detector is given at a time, 512 samples after 64 of those before them.
        "windows": np.concatenate([speech[:, start : start + 576] for start in range(0, 3520, 440)]),
        "frames": frames,
        "music": np.stack([tones(rng, 43844, 22050) for _ in range(TRIALS // 2)])[:, :, None],
        "words": np.stack([text(rng, 48, 192, 1) for _ in each]),
        # Means and deviations of the three colours that the detector is given.
        "lines": ((lines + 1) / 2 - [[[0.485]], [[0.456]], [[0.406]]]) / [[[0.229]], [[0.224]], [[0.225]]],
        "faces": np.stack([faces(rng, 64) for _ in each]),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, signals in made.items():
        np.save(folder / f"{name}.npy", signals.astype(np.float32))
        print(folder / f"{name}.npy", signals.shape)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
