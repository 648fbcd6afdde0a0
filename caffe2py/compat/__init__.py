"""Programs written for Caffe2, unchanged: its module names, and running a script under them.

import caffe2py.compat
caffe2py.compat.install()
from caffe2.python import core, workspace     # caffe2py's own modules, the same objects
"""

from caffe2py.compat.alias import install, installed, names, uninstall

__all__ = ["install", "installed", "names", "uninstall"]
