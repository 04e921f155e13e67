"""The reference of datasets, from their configs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from generators.text import code, escaped, sentence, table

from benchmark.data.cards import list_cards


def datasets_page() -> str:
    """A table of all datasets, then where each comes from and which files it needs."""
    cards = list_cards()
    rows = ([f"[{name}](#{name})", escaped(card.title), str(card.resolution), card.conditioning, card.default_recipe]
            for name, card in cards.items())  # fmt: skip
    parts = [
        "# Dataset reference",
        "From the dataset configs in `datasets/`. [Datasets](../datasets.md) says how to use your own.",
        table(["dataset", "what it is", "side, px", "labels", "recipe"], rows),
    ]
    for name, card in cards.items():
        facts = {
            "images": f"{card.resolution} px, {'grey' if card.channels == 1 else 'RGB'}"
            if not card.source.is_points
            else "2-D points",
            "labels": card.conditioning + (f", {card.n_classes} classes" if card.n_classes else ""),
            "attributes": ", ".join(card.attribute_names),
            "source": f"`{card.source.kind}`",
            "mirrored images are valid": "yes" if card.flip_ok else "no",
            "files needed": ", ".join(code(path) for path in files_of(card)),
            "licence": card.licence,
            "homepage": f"<{card.homepage}>" if card.homepage else "",
        }
        shown = {
            key: value if value.startswith(("`", "<")) else escaped(value) for key, value in facts.items() if value
        }
        parts += [f"({name})=\n## {escaped(name)}", escaped(sentence(card.title)), table(["", ""], shown.items())]
    return "\n\n".join(parts)


def files_of(card: Any) -> list[str]:
    """What must be in the data root, relative to it."""
    root = Path("/DATA")
    return [path.replace("/DATA/", "") for path in card.source.required(card, root)]
