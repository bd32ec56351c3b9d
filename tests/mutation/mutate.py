"""How many small lies in the reasoner and the ledger do the tests notice? `python -m tests.mutation.mutate --help`

Each mutant is one changed operator, comparison, number or truth value of one module, served to a forked child by an
import hook; nothing is written to disk. The child runs the tests until the first one fails: killed. The quick tests run
first; who survives them meets the property tests too. Changes that no test can see by design (docstrings, sentences
for people) are not made.
"""

import argparse
import ast
import contextlib
import copy
import importlib.abc
import importlib.machinery
import io
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]

SUBJECTS = {
    "reasoner": (
        sorted((ROOT / "ccm_bridge/billing").glob("*.py")),
        [
            "tests/contract/billing",
            "tests/unit/ccm_bridge/test_billing_ladders.py",
            "tests/unit/ccm_bridge/test_billing_gates.py",
            "tests/unit/ccm_bridge/test_billing_minutes.py",
            "tests/unit/ccm_bridge/test_billing_monitoring.py",
            "tests/unit/ccm_bridge/test_billing_conflicts.py",
            "tests/unit/ccm_bridge/test_billing_book.py",
            "tests/unit/ccm_bridge/test_billing_reading.py",
        ],
        ["tests/unit/ccm_bridge/test_billing_properties.py", "ccm_bridge/billing"],
    ),
    "ledger": (
        [ROOT / "ccm_bridge" / f"{name}.py" for name in ("ledger", "chain", "timer", "anchor", "month")],
        [
            "tests/unit/ccm_bridge/test_ledger.py",
            "tests/unit/ccm_bridge/test_chain.py",
            "tests/unit/ccm_bridge/test_anchor.py",
            "tests/unit/ccm_bridge/test_timer.py",
            "tests/unit/ccm_bridge/test_month.py",
        ],
        [
            "ccm_bridge/ledger.py",
            "ccm_bridge/timer.py",
            "ccm_bridge/chain.py",
            "ccm_bridge/month.py",
            "tests/unit/ccm_bridge/test_packet.py",
        ],
    ),
}

SWAPS: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}  # fmt: skip
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}


def places(tree: ast.AST, *, quiet: bool = False) -> Iterator[ast.AST]:
    """Nodes of code that runs; types, decorators and what is said to people are left alone."""
    for node in ast.iter_child_nodes(tree):
        skip = quiet or isinstance(node, ast.JoinedStr)
        if isinstance(tree, ast.AnnAssign) and node is tree.annotation:
            continue
        if isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef) and (
            node in tree.decorator_list or node is tree.returns or node is tree.args
        ):
            continue
        if (
            isinstance(tree, ast.Subscript)
            and node is tree.slice
            and isinstance(tree.value, ast.Name)
            and tree.value.id[:1].isupper()
        ):
            continue
        if isinstance(tree, ast.keyword) and tree.arg in {
            "frozen",
            "kw_only",
            "slots",
            "strict",
            "compared",
            "says",
        }:
            continue
        if not skip:
            yield node
        yield from places(node, quiet=skip)


def mutants(source: str) -> Iterator[tuple[int, str, str]]:
    """Every mutant of a module: its line, what was changed, and the whole changed source."""
    tree = ast.parse(source)
    found = list(places(tree))
    for number, node in enumerate(found):
        for how, change in _changes(node):
            other = copy.deepcopy(tree)
            change(list(places(other))[number])
            yield getattr(node, "lineno", 0), how, ast.unparse(ast.fix_missing_locations(other))


def _changes(node: ast.AST):
    if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        to = SWAPS[type(node.ops[0])]
        yield f"{type(node.ops[0]).__name__} -> {to.__name__}", lambda n: n.ops.__setitem__(0, to())
    elif isinstance(node, ast.BoolOp | ast.BinOp | ast.AugAssign) and type(node.op) in SWAPS:
        to = SWAPS[type(node.op)]
        yield f"{type(node.op).__name__} -> {to.__name__}", lambda n: setattr(n, "op", to())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield (
            "not x -> bool(x)",
            lambda n: setattr(n, "op", ast.Not()) or setattr(n, "operand", ast.UnaryOp(ast.Not(), n.operand)),
        )
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield f"{node.value} -> {not node.value}", lambda n: setattr(n, "value", not n.value)
    elif isinstance(node, ast.Constant) and type(node.value) is int:
        yield f"{node.value} -> {node.value + 1}", lambda n: setattr(n, "value", n.value + 1)
    elif isinstance(node, ast.Name) and node.id in NAMES and isinstance(node.ctx, ast.Load):
        yield f"{node.id} -> {NAMES[node.id]}", lambda n: setattr(n, "id", NAMES[n.id])
    elif isinstance(node, ast.IfExp):
        yield "a if x else b -> b if x else a", _turn_round
    elif (
        isinstance(node, ast.Return)
        and node.value is not None
        and not (isinstance(node.value, ast.Constant) and node.value.value is None)
    ):
        yield "return x -> return None", lambda n: setattr(n, "value", ast.Constant(None))


def _turn_round(node: ast.IfExp) -> None:
    node.body, node.orelse = node.orelse, node.body


class Served(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """The import of one module answered with a changed source."""

    def __init__(self, name: str, path: Path, source: str) -> None:
        self.name, self.path, self.source = name, path, source

    def find_spec(self, name, path=None, target=None):
        if name != self.name:
            return None
        package = self.path.name == "__init__.py"
        return importlib.machinery.ModuleSpec(name, self, origin=str(self.path), is_package=package)

    def exec_module(self, module) -> None:
        module.__file__ = str(self.path)
        if self.path.name == "__init__.py":
            module.__path__ = [str(self.path.parent)]
        exec(compile(self.source, str(self.path), "exec"), module.__dict__)


def noticed(path: Path, source: str, tests: list[str], *, within_s: float) -> str:
    """killed, survived or (an endless loop counts as noticed) timeout."""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException), open(os.devnull, "w") as quiet:  # noqa: PTH123
            os.dup2(quiet.fileno(), 1)
            os.dup2(quiet.fileno(), 2)
            sys.meta_path.insert(0, Served(name, path, source))
            import pytest

            with contextlib.redirect_stdout(io.StringIO()):
                code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", *tests])
        os._exit(int(code))
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return "survived" if os.waitstatus_to_exitcode(status) == 0 else "killed"
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "timeout"


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("subject", choices=SUBJECTS)
    ask.add_argument("--sample", type=int, default=0, help="so many mutants, drawn by --seed; 0: every one")
    ask.add_argument("--seed", type=int, default=1)
    ask.add_argument("--out", type=Path, help="survivors as JSON lines, written as they are found")
    ask.add_argument("--again", type=Path, help="only those that an earlier run kept with --out")
    said = ask.parse_args()
    files, quick, slow = SUBJECTS[said.subject]
    everything = [(file, *mutant) for file in files for mutant in mutants(file.read_text())]
    drawn = everything
    if said.sample and said.sample < len(everything):
        drawn = random.Random(said.seed).sample(everything, said.sample)
    if said.again:
        kept = {tuple(json.loads(line).values()) for line in said.again.read_text().splitlines()}
        drawn = [one for one in everything if (str(one[0].relative_to(ROOT)), one[1], one[2]) in kept]
    os.chdir(ROOT)
    for heavy in ("pytest", "msgspec", "tomllib", "zoneinfo"):
        __import__(heavy)  # once, before forking
    for tests in (quick, slow):
        if noticed(files[0], files[0].read_text(), tests, within_s=600) != "survived":
            sys.exit(f"the unchanged code does not pass {' '.join(tests)}")
    count: Counter[str] = Counter()
    per_file: dict[str, Counter[str]] = {}
    began = time.monotonic()
    for number, (file, line, how, source) in enumerate(drawn, 1):
        verdict = noticed(file, source, quick, within_s=60)
        if verdict == "survived":
            verdict = noticed(file, source, slow, within_s=240)
        count[verdict] += 1
        per_file.setdefault(file.name, Counter())[verdict] += 1
        if verdict == "survived" and said.out:
            with said.out.open("a") as kept:
                kept.write(
                    json.dumps({"file": str(file.relative_to(ROOT)), "line": line, "change": how}) + "\n"
                )
        if number % 25 == 0:
            print(f"{number} of {len(drawn)}: {dict(count)}, {time.monotonic() - began:.0f} s", flush=True)
    for name, each in sorted(per_file.items()):
        print(f"{name}: {each['killed'] + each['timeout']} of {each.total()}")
    noticed_ones = count["killed"] + count["timeout"]
    print(
        f"{said.subject}: {noticed_ones} of {len(drawn)} noticed ({noticed_ones / max(1, len(drawn)):.1%}), "
        f"{count['timeout']} of them by never ending; {len(everything)} mutants exist; {time.monotonic() - began:.0f} s"
    )


if __name__ == "__main__":
    main()
