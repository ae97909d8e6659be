"""The command `jinbao`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    sub = parser.add_subparsers(dest="verb")
    s = sub.add_parser("serve")
    s.add_argument("--config")
    s.add_argument("--zone")
    d = sub.add_parser("demo")
    d.add_argument("--once", action="store_true")
    d.add_argument("--json", action="store_true")
    d.add_argument("--persons", type=int, default=20000)
    d.add_argument("--keep")
    a = parser.parse_args()
    if a.verb == "serve":
        from jinbao.appliance.observers import configure_logging
        from jinbao.appliance.serve import run
        from jinbao.appliance.settings import load
        from jinbao.model.zone import Zone

        configure_logging()
        sys.exit(run(load(Path(a.config)), Zone(a.zone)))
    from jinbao.appliance.demo import run_demo

    r = run_demo(
        persons=a.persons,
        seed=1,
        keep=Path(a.keep) if a.keep else None,
        talk=lambda m, v: print(m, v, file=sys.stderr),
        then=lambda n, r: None,
    )
    print(json.dumps(r, ensure_ascii=False, indent=1))
    sys.exit(0 if r["ok"] else 1)


if __name__ == "__main__":
    main()
