// SPDX-License-Identifier: Apache-2.0
#include "rewards/code_driver.h"

namespace temper {
const char kPythonDriver[] = R"python(import sys


def answer():
    from os import _exit, write
    # The module json takes a fifth of a short program's time; this is its inside.
    try:
        from _json import encode_basestring_ascii as quote, make_scanner

        class Plain:
            strict, memo, object_hook, object_pairs_hook = False, {}, None, None
            parse_float, parse_int, parse_constant = float, int, float

        scan = make_scanner(Plain)
        parse = lambda text: scan(text, 0)[0]
    except ImportError:
        from json import loads as parse
        from json.encoder import encode_basestring_ascii as quote
    request = parse(sys.stdin.buffer.read().decode())

    def plain(x, depth=0, kind=type, join=",".join, error=TypeError):
        k = kind(x)
        if x is None:
            return "null"
        if k is bool:
            return "true" if x else "false"
        if k is int:
            return "%d" % x if -(2**63) <= x < 2**63 else '{"i":"%x"}' % x
        if k is float:
            return repr(x) if x - x == 0 else '{"f":"%r"}' % x
        if k is str:
            return quote(x)
        if depth > 60:
            raise error("the result is nested too deep")
        if k is list or k is tuple:
            return "[" + join([plain(item, depth + 1) for item in x]) + "]"
        if k is dict:
            for key in x:
                if kind(key) is not str:
                    raise error("the result has a key that is no str but " + kind(key).__name__)
            return '{"d":{' + join([quote(key) + ":" + plain(value, depth + 1) for key, value in x.items()]) + "}}"
        raise error("the result is no plain value but " + k.__name__)

    import solution

    name = request["function"]
    if "." not in name and not hasattr(solution, name) and hasattr(solution, "Solution"):
        name = "Solution." + name
    function = solution
    for part in name.split("."):
        function = getattr(function() if isinstance(function, type) else function, part)
    result = (request["nonce"] + "\n" + plain(function(*request["args"]))).encode()
    while result:
        result = result[write(3, result) :]
    _exit(0)


answer()
)python";

std::string DriverRequest(const std::string& nonce, const std::string& function, const Json& args) {
  return DumpJson(Json{{"nonce", nonce}, {"function", function}, {"args", args}});
}

}  // namespace temper
