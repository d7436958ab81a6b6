class Digest:
    def __init__(self) -> None:
        self._all: list[float] = []

    def add(self, value: float) -> None:
        self._all.append(value)

    def quantile(self, share: float) -> float:
        a = sorted(self._all)
        return a[min(len(a) - 1, int(share * len(a)))] if a else 0.0
