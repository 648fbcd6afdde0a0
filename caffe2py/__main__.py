"""`python -m caffe2py` is the command `caffe2py`."""

from caffe2py.cli import main

if __name__ == "__main__":
    main()
