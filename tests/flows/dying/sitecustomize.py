"""Python imports this at its start where the folder is on its path: cells of one document then end their process."""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import signal
import sys
from types import ModuleType


class _Poison(importlib.abc.MetaPathFinder):
    """Lets `tasks.extract_cell` be imported as it is, with one change."""

    def find_spec(self, name: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        if name != "tasks.extract_cell":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec
        assert spec.loader
        load = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            load(module)
            answer = module.answer

            def die_of_poison(interview, chunks, asked, conventions):
                found = answer(interview, chunks, asked, conventions)
                if "poison" in interview.source.text and asked[0].variable.name == "title":
                    os.kill(os.getpid(), signal.SIGKILL)
                return found

            module.answer = die_of_poison

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, _Poison())
