from setuptools import setup

setup(script_name="setup.py")  # named, or the wheel would carry it: the root is the package
