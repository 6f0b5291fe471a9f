# SPDX-License-Identifier: Apache-2.0
"""What is said where SALE_LIBRARY is not libsale.so."""

import os
import subprocess
import sys
import unittest


def said_with(library):
    code = "import sale\ntry: sale.version()\nexcept sale.Error as error: print(error.status, error)"
    environment = {**os.environ, "SALE_LIBRARY": library}
    return subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True).stdout


class NamedLibrary(unittest.TestCase):
    def test_that_is_not_there(self):
        said = said_with("/nowhere/libsale.so")
        self.assertRegex(said, "^not_found SALE_LIBRARY cannot be opened: /nowhere/libsale.so: .*; give libsale.so's path")

    def test_that_is_another(self):
        self.assertIn("not_found libc.so.6 is another library: it has no sale_c_api_version", said_with("libc.so.6"))


if __name__ == "__main__":
    unittest.main()
