from pathlib import Path

from setuptools import find_packages, setup

# What ipquery-load needs beside what the daemon does. 0.10: counts in C.
LOAD = ["hdrhistogram>=0.10"]

# What reads and writes Parquet.
BULK = ["pyarrow>=18"]

# 4.1: functions of SQL that take Arrow columns. pandas: Spark looks for it before it uses Arrow.
SPARK = [*BULK, "pandas>=2.2", "pyspark>=4.1"]

# What gets databases from web servers. urllib3 rather than a library above it: it streams,
# leaves redirects and retries to its caller, and trusts the system's authorities, which a
# company's own is one of. 2.2: reads what there is without waiting for more.
UPDATE = ["urllib3>=2.2"]

setup(
    name="ipquery",
    version="0.1.0",
    description="Answers where an IP address is and whose it is, fast and without a break",
    long_description=Path("README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    # The plugin folder is a package to setuptools although it has no __init__.py:
    # twisted.plugins is Twisted's own, and a second __init__.py would hide it.
    packages=[*find_packages(include=["ipquery*", "loadgen*"]), "twisted.plugins"],
    # Naming the root makes an editable install a plain path entry; without it
    # setuptools maps single packages and twistd never finds the plugin.
    package_dir={"": "."},
    package_data={
        "ipquery": ["py.typed"],
        "ipquery.data.codes": ["*.tsv"],
        "ipquery.serve.api.page": ["*.css", "*.html", "*.js", "*.svg"],
        "loadgen.measure.scale": ["*.toml"],
        "loadgen.tools": ["*"],
        "loadgen.peers": ["nginx.conf.in"],
    },
    zip_safe=False,
    install_requires=[
        # 22.2: the `attrs` name space.
        "attrs>=22.2",
        # Names of countries in everyday Chinese and English. 2.12: data file
        # loading no longer follows paths out of its folder (CVE-2021-42771 is 2.9.1).
        "Babel>=2.12",
        # 25.2: makes tuples of what is annotated as a sequence, as frozen values need them.
        "cattrs>=25.2",
        # 8.4: parameter types are generic. 8.4.2: fish completes again.
        "click>=8.4.2",
        # 0.9: refuses every ambiguous framing listed in the tests of serve/.
        "httptools>=0.9",
        # 24.8: typed routes.
        "klein>=24.8",
        # 2.0: the string and scalar rules that ranges.py relies on. Build time only.
        "numpy>=2.0",
        # 0.20: writes OpenMetrics 1.0.0 without being asked for a version.
        "prometheus_client>=0.20",
        # 26.2: spells Russian oblasts ("oblast'") so that names of theirs in databases are found.
        "pycountry>=26.2",
        # Security floor: with 24.1 and today's pyOpenSSL, Twisted takes a certificate of any
        # host for the right one, and only logs that it couldn't look.
        "service-identity>=24.2",
        # Security floor.
        "twisted[tls]>=26.10",
        # 1.6: connects by endpoints, and logs in with a user name.
        "txredisapi>=1.6",
        # 0.21: writes without waiting for the next turn, wheels for Python 3.13.
        "uvloop>=0.21",
    ],
    extras_require={
        "load": LOAD,
        # ip2region's IPv4 file of 2022-06. Pinned: answers must not change
        # because a machine was set up on another day.
        "default-data": ["XdbSearchIP==1.0.2"],
        # Batches in zstd. 1.0: bounds what comes out of a decoder; Python has it from 3.14 on.
        "zstd": ["backports.zstd>=1.0; python_version < '3.14'"],
        # Parquet. 18: wheels for Python 3.13. Not a plain dependency: it is 170 MB.
        "bulk": BULK,
        # DataFrames and SQL of Spark. pyspark is 480 MB, with all of Spark in it.
        "spark": SPARK,
        # Databases from web servers, beside those that pip and npm bring.
        "update": UPDATE,
        # The live screen of ipquery top. Not a plain dependency: with its own it is 13 MB, and
        # servers have no use for it. 13: the oldest that the tests were run with.
        "top": ["rich>=13"],
        # What make bench measures against; any recent version tells.
        "bench": [
            *BULK,
            *LOAD,
            "duckdb>=1.1",
            "fastapi>=0.110",
            "flask>=3",
            "gevent>=24",
            "granian>=2",
            "gunicorn>=22",
            # MaxMind's own reader. 3.2: bounds what one record may take.
            "maxminddb>=3.2",
            "pandas>=2.2",
            "uvicorn>=0.30",
        ],
        # What make bench-tools measures beside ours.
        "tools": [*LOAD, "locust>=2.20"],
        # What make test-bulk runs, in the versions that docs/bulk.md was tried with.
        "engines": [
            *SPARK,
            "chdb-core>=26.9",
            "dask[dataframe]>=2026.8",
            "duckdb>=2.0",
            "polars>=2.1",
        ],
        "test": [
            *BULK,
            *LOAD,
            *UPDATE,
            "backports.zstd>=1.0; python_version < '3.14'",
            # A real .dat file of 2015-10; its reader isn't used.
            "17MonIP==0.2.7",
            "hypothesis>=6.100",
            # Readers to compare with: the vendor's for BIN files. 8.11: has DB26's last columns.
            "IP2Location>=8.11",
            # The vendor's for .datx.
            "ipip-datx>=0.4",
            # The vendor's for .ipdb. 1.6: what answers were compared with.
            "ipip-ipdb>=1.6",
            # Kubernetes' schemas, which conf/kubernetes is held against. 1.29.1: works without
            # setuptools, which Python 3.12 doesn't bring.
            "kubernetes-validate>=1.29.1",
            # MaxMind's own reader, to compare with. 3.2: bounds what one record may take.
            "maxminddb>=3.2",
            # 1.20: the first that finds nothing wrong with the annotations as they are.
            "mypy>=1.20",
            "mypy-zope>=1.0.9",
            # 0.7.1: `validate`, by the version that a document names.
            "openapi-spec-validator>=0.7.1",
            # Drives Debian's Chromium, without a browser of its own. 1.65: tried with that one;
            # 1.50 evaluates texts, which the page's policy forbids.
            "playwright>=1.65",
            # 1.14: runs on pytest 8 and later.
            "pytest-twisted>=1.14.3",
            "pytest>=8",
            # The vendor's own reader, to compare with.
            "py-ip2region>=3.0",
            # A well-known one for qqwry.dat. 1.2: brings its types.
            "qqwry-py3>=1.2",
            # 6: wheels for Python 3.11.
            "PyYAML>=6",
            # 8: texts keep their quotes, which tells them from expressions; 8.1.3: typed.
            "python-hcl2>=8.1.3",
            # An example of docs/api.md.
            "requests>=2.31",
            "rich>=13",
            # 0.13: the rules of pyproject.toml, as they are now.
            "ruff>=0.13",
            # 4: OpenAPI 3.1, and requests that a description doesn't allow. 4.32: tried; 4.0 holds
            # problems against the schema of the contract's errors.
            "schemathesis>=4.32",
            # 4.3: works without setuptools, which Python 3.12 doesn't bring.
            "supervisor>=4.3",
            "treq>=24.9",
        ],
    },
    entry_points={
        "console_scripts": ["ipquery = ipquery.cli:main", "ipquery-load = loadgen.command:main"]
    },
    classifiers=[
        "Framework :: Twisted",
        "License :: OSI Approved :: MIT License",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Typing :: Typed",
    ],
)
