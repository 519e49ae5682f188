"""The application: commands, screens, and the runs that both start.

Environment variables that libraries set when they are imported are set here, before there is a second thread: glibc's
`getenv`, which DuckDB and Arrow call in threads of their own, crashes the process when another thread sets a variable.
"""

import os

_SET_BY_LIBRARIES = {
    "KMP_DUPLICATE_LIB_OK": "True",  # scikit-learn
    "KMP_INIT_AT_FORK": "FALSE",  # scikit-learn and joblib
    "OPENBLAS_MAIN_FREE": "1",  # numpy, for the time of its import
    "TORCHINDUCTOR_CACHE_DIR": os.path.join(os.environ.get("TMPDIR", "/tmp"), f"torchinductor_{os.getuid()}"),
}
"""Values that the libraries would choose; a value of the user's own stays."""

for _name, _value in _SET_BY_LIBRARIES.items():
    os.environ.setdefault(_name, _value)
