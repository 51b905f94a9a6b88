# SPDX-License-Identifier: Apache-2.0
def answer():
    from os import _exit, write

    parse, quote = json_parser()
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

    def node_of(kind, values):
        # A list as LeetCode writes lists and trees: the latter by levels, None where there is no node.
        if kind.__name__ == "ListNode":
            head = None
            for value in reversed(values):
                head = kind(value, head)
            return head
        if not values:
            return None
        root, at = kind(values[0]), 1
        level = [root]
        for node in level:
            for side in ("left", "right"):
                if at < len(values) and values[at] is not None:
                    setattr(node, side, kind(values[at]))
                    level.append(getattr(node, side))
                at += 1
        return root

    def list_of(kind, node, values, most=10**6):
        if kind.__name__ == "ListNode":
            while node is not None and len(values) < most:
                values.append(node.val)
                node = node.next
            return values if node is None else list_without_end
        level = [node]
        for node in level:
            values.append(None if node is None else node.val)
            if len(values) > most:
                return list_without_end
            if node is not None:
                level += [node.left, node.right]
        while values and values[-1] is None:
            values.pop()
        return values

    solution = load()
    list_without_end = object()
    name = request["function"]
    if "." not in name and not hasattr(solution, name) and hasattr(solution, "Solution"):
        name = "Solution." + name
    function = solution
    for part in name.split("."):
        function = getattr(function() if isinstance(function, type) else function, part)
    args = request["args"]
    kinds = {name: str(hint) for name, hint in getattr(function, "__annotations__", {}).items()}

    def node_kind(name):
        for kind in ("ListNode", "TreeNode"):
            if kind in kinds.get(name, ""):
                return getattr(solution, kind, None) or getattr(sys.modules["builtins"], kind, None)

    if kinds:
        named = [name for name in function.__code__.co_varnames if name != "self"]
        for i, value in enumerate(args):
            kind = node_kind(named[i]) if i < len(named) else None
            if kind and type(value) is list:
                many = "List[" in kinds[named[i]]
                args[i] = [node_of(kind, part) for part in value] if many else node_of(kind, value)
    result = function(*args)
    kind = node_kind("return")
    if kind and (result is None or type(result) is kind):
        result = list_of(kind, result, [])
    result = (request["nonce"] + "\n" + plain(result)).encode()
    while result:
        result = result[write(3, result) :]
    _exit(0)


answer()
