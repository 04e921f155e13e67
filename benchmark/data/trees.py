"""Image files in a folder or in a zip file, seen alike: relative posix paths below one root."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from benchmark.core.errors import DataError
from benchmark.core.text import MAX_TEXT_BYTES, decoded, read_text
from benchmark.data.layout import TEST_FOLDERS, is_hidden, is_picture, walk, zip_names

if TYPE_CHECKING:
    from PIL import Image

DATASET_JSON = "dataset.json"  # StyleGAN's list of labels


class Tree:
    """Files below one root. Names of folders end with "/"; the root's own is ""."""

    def __init__(self, where: Path, files: Iterable[str], folders: Iterable[str]) -> None:
        files = list(files)
        self.where = where  # absolute path of the folder or zip file
        self.pictures = sorted(name for name in files if is_picture(name))
        self.ignored = sum(not is_picture(name) and PurePosixPath(name).name != DATASET_JSON for name in files)
        self.label_files = {name for name in files if PurePosixPath(name).name == DATASET_JSON}
        parents = {f"{parent}/" for name in self.pictures for parent in PurePosixPath(name).parents[:-1]}
        self.folders = sorted({name for name in folders if not is_hidden(name)} | parents)

    def children(self, below: str = "") -> list[str]:
        """Names, without "/", of the folders directly in the folder `below`."""
        inside = (name[len(below) : -1] for name in self.folders if name.startswith(below) and name != below)
        return [name for name in inside if "/" not in name]

    def has_pictures_in(self, below: str) -> bool:
        """Do images lie directly in the folder `below`?"""
        return any(name.startswith(below) and "/" not in name[len(below) :] for name in self.pictures)

    def open(self, name: str) -> Image.Image:
        """The image of this name, not yet decoded. Raises whatever Pillow raises, ValueError for an empty file."""
        raise NotImplementedError

    def text(self, name: str) -> str:
        """A text file. Raises DataError for one that is too large, or no text."""
        raise NotImplementedError


class FolderTree(Tree):
    """Files below a folder of the disk."""

    def __init__(self, where: Path, follow_links: bool = False) -> None:
        entries = list(walk(where, follow_links))
        files = (name for name, stat in entries if stat is not None)
        super().__init__(where, files, (name for name, stat in entries if stat is None))

    def open(self, name: str) -> Image.Image:
        """See Tree."""
        return open_picture(self.where / name)

    def text(self, name: str) -> str:
        """See Tree."""
        return read_text(self.where / name)


class ZipTree(Tree):
    """Members of a zip file, read in place. Raises DataError for a file that is no zip or holds unsafe names."""

    def __init__(self, where: Path) -> None:
        names = zip_names(where)
        self.archive = zipfile.ZipFile(where)
        self.members = {name.replace("\\", "/"): name for name in names}  # zips made on Windows
        folders = [name for name in self.members if name.endswith("/")]
        super().__init__(where, (name for name in self.members if not name.endswith("/")), folders)

    def open(self, name: str) -> Image.Image:
        """See Tree."""
        from benchmark.data.images import open_image

        member = self.archive.getinfo(self.members[name])
        return open_image(self.archive.open(member), member.file_size)

    def text(self, name: str) -> str:
        """See Tree."""
        member, where = self.archive.getinfo(self.members[name]), f"{self.where}/{name}"
        try:
            with self.archive.open(member) as file:
                content = file.read(MAX_TEXT_BYTES + 1)  # the size that the archive says may be wrong
        except Exception as error:  # damaged, encrypted or of an unknown compression: errors of many kinds
            raise DataError(f"{where}: cannot be read", str(error), "make the archive again") from None
        return decoded(content, where)


def open_picture(path: Path) -> Image.Image:
    """An image file, not yet decoded. Raises as `Tree.open`."""
    from benchmark.data.images import open_image

    return open_image(path, path.stat().st_size)


def open_tree(where: Path, follow_links: bool = False) -> Tree:
    """The tree of a folder or zip file. Raises DataError when it is neither, and for links that lead outside."""
    if where.is_dir():
        return FolderTree(where, follow_links)
    if where.is_file():
        return ZipTree(where)
    raise DataError(f"{where}: no such folder or zip file", mend="check the path")


def base(tree: Tree) -> str:
    """The folder that holds the class folders, or dataset.json: single folders around it are passed through."""
    below = ""
    while True:
        children = tree.children(below)
        if f"{below}{DATASET_JSON}" in tree.label_files:
            return below
        if len(children) != 1 or tree.has_pictures_in(below):
            return below
        inner = f"{below}{children[0]}/"
        if not tree.children(inner):
            return below
        below = inner


def own_split(tree: Tree) -> list[tuple[str, bool | None]]:
    """(folder, is it the test split?) for a tree of train/ and test/ folders, else one entry with None.

    With test/, val/ joins train; without test/, val/ is the test split.
    """
    below = base(tree)
    children = tree.children(below)
    held_out = [name for name in TEST_FOLDERS if name in children]
    if "train" not in children or not held_out or len(children) != 1 + len(held_out) or tree.has_pictures_in(below):
        return [(below, None)]
    return [(f"{below}{name}/", name == held_out[0]) for name in children]
