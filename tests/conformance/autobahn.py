"""Plays Autobahn's cases against an echo server: usage: autobahn.py IP:PORT. Ends with 1 if any has failed."""

import asyncio
import collections
import sys

import kosoku

# Those of compression: 12.* and 13.*.
LEFT_OUT = ["12.*", "13.*"]


async def main():
    failure = None
    try:
        results = await kosoku.run_fuzzingclient(sys.argv[1], None, LEFT_OUT)
    except kosoku.FailureError as error:
        failure, results = error, error.results
    count = collections.Counter(str(result.behavior) for result in results)
    print(f"Autobahn: {len(results)} cases: {dict(count)}")
    if failure is not None:
        print(failure)
        sys.exit(1)


asyncio.run(main())
