"""From the sender's unit to ours: pressures in mm[Hg], glucose in mg/dL."""

KPA_IN_MMHG = 7.50062
"""1 mm[Hg] = 133.322387415 Pa, so 1 kPa = 7.500617 mm[Hg]; the constant the profile's implementers use."""

MMOL_IN_MGDL = 18.01559
"""Molar mass of glucose, 180.1559 g/mol, per decilitre; the factor the large open diabetes platforms use."""

PRESSURE = {
    "mm[Hg]": 1.0, "mm[hg]": 1.0, "mmhg": 1.0, "mm hg": 1.0, "mm_hg": 1.0,
    "kPa": KPA_IN_MMHG, "kpa": KPA_IN_MMHG, "pa": KPA_IN_MMHG / 1000,
}  # fmt: skip
GLUCOSE = {
    "mg/dL": 1.0, "mg/dl": 1.0, "mgdl": 1.0, "mg_dl": 1.0, "mg dl": 1.0,
    "mmol/L": MMOL_IN_MGDL, "mmol/l": MMOL_IN_MGDL, "mmoll": MMOL_IN_MGDL, "mmol_l": MMOL_IN_MGDL, "mmol": MMOL_IN_MGDL,
    "kg/l": 1e5, "mol/l": MMOL_IN_MGDL * 1000, "g/l": 100.0,
}  # fmt: skip
RATE = {"/min": 1.0}
PLACES = 2  # what a cuff or a meter resolves, with a digit to spare: 79.30000305 is 79.3


def factor(table: dict[str, float], unit: str) -> float | None:
    """What to multiply by to get to our unit, or None for a unit the table does not have.

    >>> factor(PRESSURE, "kPa"), factor(GLUCOSE, "MG/DL"), factor(GLUCOSE, "stone")
    (7.50062, 1.0, None)
    """
    found = table.get(unit)
    return found if found is not None else table.get(unit.strip().lower())
