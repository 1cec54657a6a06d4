"""Importing modules without type stubs, and plainly where that does not work."""

import gc
import inspect
import sys
from fractions import Fraction

import pytest

from lineup import fast_import

SKIPS = """
import inspect
class Component: ...
try:
    file = inspect.getfile(Component)
except OSError:
    file = None
"""
NEEDS = """
import inspect
class Component: ...
file = inspect.getfile(Component)
"""


@pytest.mark.parametrize(("code", "is_plain"), [(SKIPS, False), (NEEDS, True)])
def test_modules_that_need_the_files_of_classes_are_imported_plainly(tmp_path, monkeypatch, caplog, code, is_plain):
    (tmp_path / "components_of_a_test.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "components_of_a_test", raising=False)
    fast_import.import_modules("components_of_a_test")
    file = sys.modules.pop("components_of_a_test").file
    assert (file is not None, "imported with them" in caplog.text) == (is_plain, is_plain)
    assert inspect.getfile(Fraction)
    assert gc.isenabled()


def test_missing_module_is_an_import_error():
    with pytest.raises(ModuleNotFoundError):
        fast_import.import_modules("no_such_module_of_a_test")
