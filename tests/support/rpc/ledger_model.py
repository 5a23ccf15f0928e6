"""What WalletService has to response, without a database: the reference that the real one is compared with."""

from dataclasses import dataclass, field

CURRENCY = "EUR"
#: Wallets are 0 and 1; the customer 2 has none.
WALLETS = 2
JOBS = 5


@dataclass(frozen=True)
class Refusal:
    """An error by its reason, with the details that the model knows."""

    reason: str
    details: tuple[tuple[str, str], ...] = ()


#: What becomes of a request: "done", "replayed", or a refusal.
Outcome = str | Refusal

NO_WALLET = Refusal("WALLET_NOT_FOUND")


def reused(*fields: str) -> Refusal:
    """A key or an ID was used with other parameters."""
    return Refusal("IDEMPOTENCY_KEY_REUSED", (("fields", ",".join(fields)),))


@dataclass
class Charged:
    """A deduction: where it is in its wallet's statement, what it took and what was given back."""

    sequence: int
    cents: int
    refunded: int = 0


@dataclass
class Model:
    """The ledger. Each job has one hold; credits and refunds have a few keys.

    Attributes:
        lines: The statement of each wallet: kind, signed amount, balance after it.
        holds: State, wallet (None if it was never placed) and amount, by job.
        charged: Deductions, by wallet and job.
        keys: What credits and refunds asked for, by wallet and key.
    """

    lines: list[list[tuple[str, int, int]]] = field(default_factory=lambda: [[] for _ in range(WALLETS)])
    holds: dict[int, tuple[str, int | None, int]] = field(default_factory=dict)
    charged: dict[tuple[int, int], Charged] = field(default_factory=dict)
    keys: dict[tuple[int, str], tuple[int, ...]] = field(default_factory=dict)

    def balance(self, wallet: int) -> int:
        """The balance after the last line."""
        return self.lines[wallet][-1][2] if self.lines[wallet] else 0

    def pending(self, wallet: int) -> int:
        """The sum of the active holds."""
        return sum(cents for state, owner, cents in self.holds.values() if (state, owner) == ("ACTIVE", wallet))

    def credit(self, wallet: int, job: int, cents: int) -> Outcome:
        """Pays in, once for each wallet and job."""
        if wallet == WALLETS:
            return NO_WALLET
        if (known := self.keys.get((wallet, f"c{job}"))) is not None:
            return "replayed" if known == (cents,) else reused("amount_cents")
        self.keys[wallet, f"c{job}"] = (cents,)
        return self._write(wallet, "CREDIT", cents)

    def place(self, wallet: int, job: int, cents: int) -> Outcome:
        """Reserves money for a job."""
        if job in self.holds:
            state, owner, held = self.holds[job]
            differences = {"customer_id": owner != wallet, "amount_cents": held != cents}
            if owner is not None and any(differences.values()):
                return reused(*(name for name, differs in differences.items() if differs))
            return "replayed" if state == "ACTIVE" else Refusal("HOLD_NOT_ACTIVE", (("state", state),))
        if wallet == WALLETS:
            return NO_WALLET
        if (available := self.balance(wallet) - self.pending(wallet)) < cents:
            return _insufficient(available, cents)
        self.holds[job] = ("ACTIVE", wallet, cents)
        return "done"

    def release(self, job: int) -> Outcome:
        """Frees it."""
        state, owner, cents = self.holds.get(job, ("NEW", None, 0))
        if state == "CAPTURED":
            return Refusal("HOLD_NOT_ACTIVE", (("state", state),))
        self.holds[job] = ("RELEASED", owner, cents)
        return "replayed" if state == "RELEASED" else "done"

    def deduct(self, wallet: int, job: int, cents: int) -> Outcome:
        """Charges a job, and ends its hold."""
        if wallet == WALLETS:
            return NO_WALLET
        if (known := self.charged.get((wallet, job))) is not None:
            return "replayed" if known.cents == cents else reused("amount_cents")
        state, owner, held = self.holds.get(job, ("NEW", None, 0))
        if owner not in {None, wallet}:
            return Refusal("HOLD_MISMATCH", (("fields", "customer_id"),))
        available = self.balance(wallet) - self.pending(wallet) + (held if state == "ACTIVE" else 0)
        if available < cents:
            return _insufficient(available, cents)
        if any(charged == job for _, charged in self.charged):
            return Refusal("ALREADY_CHARGED")
        if state == "ACTIVE":
            self.holds[job] = ("CAPTURED", owner, held)
        elif state == "NEW":
            self.holds[job] = ("RELEASED", None, 0)
        self.charged[wallet, job] = Charged(len(self.lines[wallet]) + 1, cents)
        return self._write(wallet, "DEDUCTION", -cents)

    def wallet_of(self, job: int) -> int | Refusal:
        """The wallet that a job was charged to, as a refund that names the job finds it."""
        wallets = (wallet for wallet, charged_job in self.charged if charged_job == job)
        return next(wallets, Refusal("TRANSACTION_NOT_FOUND"))

    def refund(self, wallet: int, job: int, cents: int, key: str, names_it: str) -> Outcome:
        """Give a charge back; 0 is all that is left."""
        charge = self.charged[wallet, job]
        if (known := self.keys.get((wallet, key))) is not None:
            differences = {"amount_cents": known[1] != cents, names_it: known[0] != job}
            different = [name for name, differs in differences.items() if differs]
            return reused(*different) if different else "replayed"
        left = charge.cents - charge.refunded
        amount = cents or left
        if not 0 < amount <= left:
            details = {"refundable_cents": str(left), "requested_cents": str(cents)}
            return Refusal("REFUND_EXCEEDS_CHARGE", tuple(details.items()))
        charge.refunded += amount
        self.keys[wallet, key] = (job, cents)
        return self._write(wallet, "REFUND", amount)

    def _write(self, wallet: int, kind: str, change: int) -> Outcome:
        self.lines[wallet].append((kind, change, self.balance(wallet) + change))
        return "done"


def _insufficient(available: int, required: int) -> Refusal:
    details = {"available_cents": str(available), "required_cents": str(required), "currency": CURRENCY}
    return Refusal("INSUFFICIENT_FUNDS", tuple(details.items()))
