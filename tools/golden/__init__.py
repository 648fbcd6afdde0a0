"""Generator of tests/golden: what the real Caffe2 answers on a table of small cases.

`python -m tools.golden --oracle PYTHON` from the repository root. PYTHON is the interpreter of an
environment with torch==1.8.1 (the last wheel that contains Caffe2), Python 3.8.
"""
