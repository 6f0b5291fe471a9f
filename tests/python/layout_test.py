# SPDX-License-Identifier: Apache-2.0
"""The ctypes structs have the layout that the C compiler gives those of sale.h."""

import ctypes
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from sale import _structs


class Layout(unittest.TestCase):
    @unittest.skipUnless(shutil.which("cc"), "there is no C compiler")
    def test_offsets_and_sizes_are_the_compilers(self):
        lines = ['#include "sale/sale.h"', "#include <stdio.h>", "int main(void) {"]
        for name, struct in _structs.ALL.items():
            lines.append(f'printf("{name} %zu\\n", sizeof({name}));')
            for field, *_ in struct._fields_:
                lines.append(f'printf("{name}.{field} %zu\\n", offsetof({name}, {field}));')
                lines.append(f'printf("{name}.{field}.size %zu\\n", sizeof((({name} *)0)->{field}));')
        lines.append("return 0; }")
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "layout.c"
            source.write_text("\n".join(lines))
            program = Path(folder) / "layout"
            include = Path(os.environ["SALE_SOURCE_DIR"]) / "include"
            subprocess.run(["cc", "-std=c11", f"-I{include}", str(source), "-o", str(program)], check=True)
            said = subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout
        by_compiler = dict(line.split() for line in said.splitlines())
        for name, struct in _structs.ALL.items():
            self.assertEqual(int(by_compiler[name]), ctypes.sizeof(struct), name)
            for field, *_ in struct._fields_:
                member = getattr(struct, field)
                self.assertEqual(int(by_compiler[f"{name}.{field}"]), member.offset, f"{name}.{field}")
                self.assertEqual(int(by_compiler[f"{name}.{field}.size"]), member.size, f"{name}.{field}")


if __name__ == "__main__":
    unittest.main()
