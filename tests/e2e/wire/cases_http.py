from tests.e2e.wire.play import Case
CASES: list[Case] = []
