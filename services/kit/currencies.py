"""The currencies of ISO 4217: which there are, and how an amount of a currency's minor unit is written."""

from iso4217 import Currency

from services.kit.errors import InvalidField


def decimals(code: str) -> int | None:
    """Say how many decimals a currency has: 2 for EUR, 0 for JPY, 3 for KWD.

    Returns:
        The number; None for what ISO does not know, and for what has no minor unit, such as gold.
    """
    try:
        found: int | None = Currency(code).exponent
    except ValueError:
        return None
    return found


def check_currency(code: str, field: str) -> None:
    """Check that money of a currency can be kept.

    Asked where a currency comes in, with a new wallet or a new price: what is there already stays as it is.

    Args:
        code: An ISO 4217 code.
        field: The field that it stands in, by its path in the contract.

    Raises:
        InvalidField: ISO does not know the currency, or it has no minor unit.
    """
    if decimals(code) is None:
        raise InvalidField.of(field, f"must be a currency of ISO 4217 that has a minor unit, such as EUR, not {code}")


def money(cents: int, code: str) -> str:
    """Write an amount in the currency's units: 7.50 EUR, 500 JPY, 0.500 KWD.

    Args:
        cents: The amount in the currency's minor unit.
        code: An ISO 4217 code; an amount of a currency that ISO does not know is written in minor units, and says so.
    """
    places = decimals(code)
    if places is None:
        return f"{cents} minor units of {code or 'no currency'}"
    digits = f"{abs(cents):0{places + 1}d}"
    whole, fraction = digits[: len(digits) - places], digits[len(digits) - places :]
    return f"{'-' if cents < 0 else ''}{whole}{'.' if fraction else ''}{fraction} {code}"
