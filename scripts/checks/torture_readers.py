"""Readers of others: each gives the rows of a table as plain values."""

import glob
import json
import os
import subprocess
from decimal import Decimal
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset
from harness import data_files
from torture_values import EVOLVED, plain, rows_of


class Absent(Exception):
    """A reader that cannot be had here."""


PARTITIONS = ["part", "p_day", "p_int", "p_flag"]
# Of which ClickHouse has not all values: its times begin in 1900 and end in 2299, and what is nested cannot be null.
NOT_IN_CLICKHOUSE = [f.name for f in EVOLVED if pa.types.is_temporal(f.type) or pa.types.is_nested(f.type)]
SQL_TYPES = "{'part': VARCHAR, 'p_day': DATE, 'p_int': BIGINT, 'p_flag': BOOLEAN}"


def table(place, version, env):
    import deltalake

    return deltalake.DeltaTable(str(place), version=version, storage_options=env or None)


def delta_by_deltalake(place, version, env):
    return rows_of(table(place, version, env).to_pyarrow_table())


def delta_by_datafusion(place, version, env):
    from deltalake import QueryBuilder

    return rows_of(QueryBuilder().register("t", table(place, version, env)).execute("SELECT * FROM t").read_all())


def delta_by_polars(place, version, env):
    import polars

    return rows_of(polars.scan_delta(str(place), version=version, storage_options=env or None).collect().to_arrow())


def delta_by_kernel(place, version, env):
    try:
        import polars_deltalake
    except ImportError:
        raise Absent("the package polars-deltalake is not installed")
    return rows_of(polars_deltalake.scan_delta(str(place), version=version, storage_options=env or None).collect().to_arrow())


def delta_by_duckdb(place, version, env):
    """Its extension for Delta is a download that is not to be had everywhere. Without it DuckDB reads the files that are in the table."""
    import duckdb

    if env:
        raise Absent("DuckDB reads S3 by an extension, which is a download")
    files = table(place, version, env).file_uris()
    query = f"SELECT * FROM read_parquet(?, hive_partitioning=true, hive_types={SQL_TYPES}, union_by_name=true)"
    if not any("part=" in f for f in files):
        query = "SELECT * FROM read_parquet(?, union_by_name=true, hive_partitioning=false)"
    return rows_of(duckdb.connect().sql(query, params=[files]).to_arrow_table())


def delta_by_clickhouse(settings, place, version, env):
    """With its own reader of the log, or with delta-kernel."""
    try:
        import chdb
    except ImportError:
        raise Absent("the package chdb is not installed (--more installs it)")
    if env or (version is not None and "kernel_rs=1" not in settings):
        raise Absent("not asked for there")
    if version is not None:
        settings += f", delta_lake_snapshot_version={version}"
    # It reads files below the working directory only.
    os.chdir(Path(place).parent)
    names = [f.name for f in table(place, version, env).schema().fields if f.name not in NOT_IN_CLICKHOUSE]
    quoted = ", ".join("`" + name.replace("`", "\\`") + "`" for name in names)
    query = f"SELECT {quoted} FROM deltaLakeLocal('{place}') SETTINGS {settings}, output_format_arrow_string_as_string=0"
    return rows_of(chdb.query(query, "ArrowTable"))


def delta_by_spark(place, version, env):
    """Its own reader of the log comes from Maven, which is not reached here. Its reader of Parquet reads the files that are in the table."""
    try:
        from pyspark.sql import SparkSession
    except ImportError:
        raise Absent("the package pyspark is not installed (--more installs it)")
    files = table(place, version, env).file_uris()
    if env or any("part=" in f for f in files):
        raise Absent("not asked for there")
    builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").config("spark.driver.host", "127.0.0.1")
    builder = builder.config("spark.driver.bindAddress", "127.0.0.1").config("spark.sql.session.timeZone", "UTC")
    session = builder.config("spark.ui.showConsoleProgress", "false").getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return rows_of(session.read.option("mergeSchema", "true").parquet(*files).toArrow())


def parquet_by_duckdb(place):
    import duckdb

    files = data_files(place)
    hive = f"hive_partitioning=true, hive_types={SQL_TYPES}" if any("part=" in f for f in files) else "hive_partitioning=false"
    query = f"SELECT * FROM read_parquet(?, {hive}, union_by_name=true)"
    return rows_of(duckdb.connect().sql(query, params=[files]).to_arrow_table())


def parquet_by_polars(place):
    import polars

    types = {"part": polars.String, "p_day": polars.Date, "p_int": polars.Int64, "p_flag": polars.Boolean}
    files = data_files(place)
    hive = any("part=" in f for f in files)
    scans = [
        polars.scan_parquet(f, hive_partitioning=hive, hive_schema=types if hive else None) for f in files
    ]
    return rows_of(polars.concat([s.collect() for s in scans], how="diagonal_relaxed").to_arrow())


def parquet_by_pyarrow(place):
    files = data_files(place)
    schemas = pa.unify_schemas([pa.parquet.read_schema(f) for f in files], promote_options="permissive")
    partitioning = None
    if any("part=" in f for f in files):
        fields = [f for f in EVOLVED if f.name in PARTITIONS]
        partitioning = pyarrow.dataset.partitioning(pa.schema(fields), flavor="hive")
        for field in fields:
            schemas = schemas.append(field)
    options = {"partitioning": partitioning, "partition_base_dir": str(place)} if partitioning else {}
    return rows_of(pyarrow.dataset.dataset(files, schema=schemas, format="parquet", **options).to_table())


def select(name):
    """Times and days as numbers: the readers' own types have none that are far away."""
    columns = []
    for field in EVOLVED:
        quoted = '"' + field.name.replace('"', '""') + '"'
        if pa.types.is_timestamp(field.type):
            columns.append(f"(extract(epoch FROM {quoted}) * 1000000)::bigint AS {quoted}")
        elif pa.types.is_date32(field.type):
            columns.append(f"{quoted} - date '1970-01-01' AS {quoted}")
        elif pa.types.is_time64(field.type):
            columns.append(f"(extract(epoch FROM {quoted}) * 1000000)::bigint AS {quoted}")
        elif field.metadata:
            # A `null` of JSON is not the same as none.
            columns.append(f"{quoted}::text AS {quoted}")
        else:
            columns.append(quoted)
    return f"SELECT {', '.join(columns)} FROM {name}"


def plain_row(row):
    return {f.name: None if row[f.name] is None else plain(row[f.name], f) for f in EVOLVED}


def postgres_by_psycopg(binary, server, name):
    import psycopg
    from psycopg.rows import dict_row
    from psycopg.types.json import set_json_loads

    set_json_loads(partial(json.loads, parse_float=Decimal))
    with psycopg.connect(server.url(), row_factory=dict_row) as connection, connection.cursor(binary=binary) as cursor:
        return [plain_row(row) for row in cursor.execute(select(name))]


def postgres_by_psql(server, name):
    command = [str(server.programs / "psql"), server.url(), "-XAt", "-v", "ON_ERROR_STOP=1", "-c"]
    command.append(f"SELECT row_to_json(t) FROM ({select(name)}) t")
    ran = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PGCLIENTENCODING": "UTF8"})
    if ran.returncode:
        raise RuntimeError(ran.stderr)
    # Of a zero that is negative Python would make a whole number, which has no sign.
    whole = lambda text: Decimal(text) if text == "-0" else int(text)
    rows = (json.loads(line, parse_float=Decimal, parse_int=whole) for line in ran.stdout.split("\n") if line)
    return [plain_row(row) for row in rows]


def by_value(place, env, rows):
    """Looks for each value of each row, as readers do that skip files by what the log tells of them. Gives what was not found."""
    import polars
    from deltalake import QueryBuilder

    columns = [f for f in EVOLVED if f.name in BY_VALUE]
    sql = QueryBuilder().register("t", table(place, None, env))
    lazy = polars.scan_delta(str(place), storage_options=env or None)
    for id, row in rows.items():
        for field in columns:
            value = row[field.name]
            if value is None:
                literal, condition = None, polars.col(field.name).is_null()
            elif pa.types.is_date32(field.type):
                literal, condition = f"arrow_cast({value}, 'Date32')", polars.col(field.name) == polars.lit(value).cast(polars.Date)
            else:
                literal = str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"
                condition = polars.col(field.name) == value
            where = f'"{field.name}" = {literal}' if literal else f'"{field.name}" IS NULL'
            found = {
                "DataFusion": pa.table(sql.execute(f"SELECT id FROM t WHERE {where}").read_all())["id"].to_pylist(),
                "polars": lazy.filter(condition).select("id").collect()["id"].to_list(),
            }
            for reader, ids in found.items():
                if id not in ids:
                    yield f"row {id} is not found by {reader} where {where[:100]}"


DELTA = {
    "deltalake": delta_by_deltalake,
    "deltalake by DataFusion": delta_by_datafusion,
    "polars": delta_by_polars,
    "polars by delta-kernel": delta_by_kernel,
    "duckdb": delta_by_duckdb,
    "clickhouse": partial(delta_by_clickhouse, "allow_experimental_delta_kernel_rs=0"),
    "clickhouse by delta-kernel": partial(delta_by_clickhouse, "allow_experimental_delta_kernel_rs=1"),
    "spark, files of the table": delta_by_spark,
}
# Columns whose values are looked for.
BY_VALUE = ["id", "i8", "i32", "i64", "u32", "text", "day", "more", *PARTITIONS[:3]]
# Columns that a reader is not asked for.
NOT_ASKED = {"clickhouse": NOT_IN_CLICKHOUSE, "clickhouse by delta-kernel": NOT_IN_CLICKHOUSE}
PARQUET = {"duckdb": parquet_by_duckdb, "polars": parquet_by_polars, "pyarrow": parquet_by_pyarrow}
POSTGRES = {
    "psycopg": partial(postgres_by_psycopg, False),
    "psycopg in binary": partial(postgres_by_psycopg, True),
    "psql": postgres_by_psql,
}
