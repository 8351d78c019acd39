"""What runs code or unpacks what it is given stands in a list, and the list is whole."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import prostate_uda

ROOT = Path(prostate_uda.__file__).parent
BANNED = {
    *("eval", "exec", "compile", "__import__", "input", "importlib.import_module"),
    *("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"),
    *("yaml.load", "yaml.unsafe_load", "yaml.full_load", "torch.jit.load", "torch.hub.load", "shutil.unpack_archive"),
    *("torch.hub.load_state_dict_from_url", "tempfile.mktemp", "pandas.read_pickle", "numpy.fromfile"),
    *("torch.export.load", "torch.package.PackageImporter", "monai.bundle.load", "monai.bundle.ConfigParser"),
}
"""Functions that run, or let others run, what a file or an address holds."""
SERIALIZERS = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "jsonpickle"}
NETWORK = {
    *("socket", "ssl", "http", "urllib.request", "urllib3", "requests", "httpx", "aiohttp", "ftplib", "smtplib"),
    *("xmlrpc", "huggingface_hub", "gdown", "wandb", "mlflow", "asyncio", "telnetlib", "socketserver"),
}
NAMES_ONLY = {"pickle.UnpicklingError"}
"""An exception that torch.load raises."""
EXCEPTIONS = {
    ("data/preparing/download.py", "network http.client"),  # `prepare` downloads
    ("data/preparing/download.py", "network urllib.request"),
    ("recipes/bundle_reading.py", "call monai.bundle.ConfigParser"),  # a bundle's configuration is trusted: SECURITY.md
}


class Reader(ast.NodeVisitor):
    """Names by what they were imported as, and what is told of calls and imports."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.found: set[str] = set()

    def visit_Import(self, node: ast.Import) -> None:
        for one in node.names:
            self.names[one.asname or one.name.split(".")[0]] = one.name if one.asname else one.name.split(".")[0]
            self.imported(one.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for one in node.names:
            self.names[one.asname or one.name] = f"{node.module}.{one.name}"
            if f"{node.module}.{one.name}" not in NAMES_ONLY:
                self.imported(str(node.module), one.name)

    def imported(self, module: str, name: str = "") -> None:
        for part in (module, module.split(".")[0], f"{module}.{name}"):
            if part in NETWORK:
                self.found.add(f"network {module}")
        if module.split(".")[0] in SERIALIZERS and name:
            self.found.add(f"serializer {module}.{name}")

    def visit_Attribute(self, node: ast.Attribute) -> None:
        told = self.dotted(node)
        if told.split(".")[0] in SERIALIZERS and told not in NAMES_ONLY:
            self.found.add(f"serializer {told}")
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        told, given = self.dotted(node.func), {one.arg: one.value for one in node.keywords}
        if told in BANNED:
            self.found.add(f"call {told}")
        if told in ("torch.load", "torch.serialization.load") and not is_constant(given.get("weights_only"), True):
            self.found.add("torch.load without weights_only=True")
        if told in ("numpy.load", "numpy.memmap") and "allow_pickle" in given:
            self.found.add(f"{told} with allow_pickle")
        if "shell" in given and not is_constant(given["shell"], False):
            self.found.add("a shell")
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("extractall", "extract"):
            self.found.add(f"unpacking by {node.func.attr}")
        self.generic_visit(node)

    def dotted(self, node: ast.expr) -> str:
        if isinstance(node, ast.Attribute):
            return f"{self.dotted(node.value)}.{node.attr}"
        return self.names.get(node.id, node.id) if isinstance(node, ast.Name) else "?"


def is_constant(node: ast.expr | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def found_in(code: str) -> set[str]:
    reader = Reader()
    reader.visit(ast.parse(code))
    return reader.found


def sources() -> Iterator[tuple[str, str]]:
    for path in sorted(ROOT.rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def test_the_package_does_none_of_it_but_where_it_is_listed() -> None:
    found = {(path, what) for path, code in sources() for what in found_in(code)}
    assert found == EXCEPTIONS


def test_only_prepare_reaches_the_downloads() -> None:
    """No other module than those of ``prepare`` imports what downloads."""
    module = "prostate_uda.data.preparing.download"
    importers = {path for path, code in sources() if f"{module} import" in code and "fetch" in code}
    assert importers <= {"recipes/fetching.py", "recipes/prepare.py"}
    fetching = {path for path, code in sources() if "prostate_uda.recipes.fetching import" in code}
    assert fetching == {"recipes/prepare.py"}


@pytest.mark.parametrize(
    "code",
    [
        "import torch\ntorch.load(path)",
        "from torch import load as read\nread(path, weights_only=False)",
        "import torch as t\nt.load(path, weights_only=flag)",
        "import pickle\npickle.loads(content)",
        "from pickle import Unpickler",
        "import pickle as p\nload = p.load",
        "eval(text)",
        "import yaml\nyaml.load(file)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "import subprocess\nsubprocess.run(line, shell=True)",
        "import os\nos.system(line)",
        "archive.extractall(folder)",
        "import tarfile\nwith tarfile.open(path) as tar:\n    tar.extract(member)",
        "import urllib.request",
        "from urllib.request import urlopen",
        "def late():\n    import requests",
        "from monai.bundle import ConfigParser\nConfigParser({})",
        "import torch\ntorch.jit.load(path)",
    ],
)
def test_each_is_seen(code: str) -> None:
    assert found_in(code)


@pytest.mark.parametrize(
    "code",
    [
        "network.eval()",
        "import torch\ntorch.load(path, weights_only=True)",
        "from pickle import UnpicklingError\ntry:\n    pass\nexcept UnpicklingError:\n    pass",
        "from urllib.parse import quote",
        "import re\nre.compile('a')",
        "import numpy as np\nnp.load(path)",
    ],
)
def test_what_only_looks_like_it_is_let_be(code: str) -> None:
    assert found_in(code) == set()
