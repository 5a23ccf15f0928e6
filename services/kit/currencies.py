"""The currencies of ISO 4217, and the notation of amounts in their minor units."""

from iso4217 import Currency

from services.kit.errors import InvalidField


def decimals(code: str) -> int | None:
    """Return the number of decimals of a currency: 2 for EUR, 0 for JPY, 3 for KWD.

    Returns:
        The number; None for a code outside ISO 4217, or without a minor unit, such as gold.
    """
    try:
        found: int | None = Currency(code).exponent
    except ValueError:
        return None
    return found


def check_currency(code: str, field: str) -> None:
    """Check that amounts of a currency can be stored.

    Called for a new wallet or a new price: stored currencies stay as they are.

    Args:
        code: An ISO 4217 code.
        field: The path of the code's field in the contract.

    Raises:
        InvalidField: The code is not in ISO 4217, or has no minor unit.
    """
    if decimals(code) is None:
        raise InvalidField.of(field, f"must be a currency of ISO 4217 that has a minor unit, such as EUR, not {code}")


def money(cents: int, code: str) -> str:
    """Format an amount in the currency's units: 7.50 EUR, 500 JPY, 0.500 KWD.

    Args:
        cents: The amount in the currency's minor unit.
        code: An ISO 4217 code; an amount with another code is formatted in minor units, which the text says.
    """
    places = decimals(code)
    if places is None:
        return f"{cents} minor units of {code or 'no currency'}"
    digits = f"{abs(cents):0{places + 1}d}"
    whole, fraction = digits[: len(digits) - places], digits[len(digits) - places :]
    return f"{'-' if cents < 0 else ''}{whole}{'.' if fraction else ''}{fraction} {code}"
