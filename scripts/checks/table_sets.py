"""What a reader may see of the tables of a set, which commit an epoch one after the other."""


def apart(first, second):
    """Loads that two tables of a set hold otherwise than they may, given the rows of each by the load that brought them: both hold the same,
    but the newest load may still be in the first one alone, which commits before the other."""
    loads = sorted(first.keys() | second.keys())
    on_its_way = loads[-1] if loads and loads[-1] not in second else None
    return [load for load in loads if load != on_its_way and first.get(load) != second.get(load)]
