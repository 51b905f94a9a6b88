# SPDX-License-Identifier: Apache-2.0
import sys

# What LeetCode gives to a program, and LiveCodeBench's harness too, by where it comes from.
GIVEN = {
    "typing": "Any Callable DefaultDict Deque Dict FrozenSet Generator Generic Hashable Iterable Iterator List Mapping "
    "NamedTuple NewType Optional Sequence Set Text Tuple Type TypeVar Union",
    "collections": "ChainMap Counter OrderedDict defaultdict deque namedtuple",
    "heapq": "heapify heappop heappush heappushpop heapreplace merge nlargest nsmallest",
    "bisect": "bisect_left bisect_right insort insort_left insort_right",
    "math": "acos asin atan atan2 ceil comb copysign cos degrees dist e erf exp fabs factorial floor fmod fsum gcd hypot "
    "inf isclose isfinite isinf isnan isqrt lcm log log10 log1p log2 nan perm pi prod radians sin sqrt tan tau trunc",
    "itertools": "accumulate chain combinations combinations_with_replacement compress count cycle dropwhile "
    "filterfalse groupby islice pairwise permutations product repeat starmap takewhile tee zip_longest",
    "functools": "cache cached_property cmp_to_key lru_cache partial reduce total_ordering wraps",
    "operator": "add and_ attrgetter eq ge gt itemgetter le lt mul ne or_ sub xor",
    "copy": "deepcopy",
    "string": "ascii_letters ascii_lowercase ascii_uppercase digits hexdigits punctuation",
    "random": "choice randint randrange shuffle",
    "statistics": "mean median mode",
    "datetime": "date timedelta",
    "dataclasses": "dataclass",
    "enum": "Enum",
    "fractions": "Fraction",
    "decimal": "Decimal",
    "sortedcontainers": "SortedDict SortedList SortedSet",
}
MODULES = (
    "array bisect collections copy datetime decimal fractions functools heapq io itertools json math operator os "
    "random re statistics string sys time typing"
)
NODES = """
class ListNode:
    def __init__(self, val=0, next=None):
        self.val, self.next = val, next
class TreeNode:
    def __init__(self, val=0, left=None, right=None):
        self.val, self.left, self.right = val, left, right
"""


def give(code):
    # As builtins, so that whatever the program defines or imports comes first, and a function that it does not
    # define is still not there; and only what it names, since imports take time.
    import builtins

    names, left = set(), [code]
    while left:
        code = left.pop()
        names.update(code.co_names)
        left += [part for part in code.co_consts if type(part) is type(code)]
        for text in code.co_consts:  # annotations may be texts
            names.update(node for node in ("ListNode", "TreeNode") if type(text) is str and node in text)
    names = {name for name in names if not hasattr(builtins, name)}
    nodes = {"__name__": "solution"}
    if names & {"ListNode", "TreeNode"}:
        exec(NODES, nodes)
    for name in names & {"ListNode", "TreeNode"}:
        setattr(builtins, name, nodes[name])
    for name in names.intersection(MODULES.split()):
        setattr(builtins, name, __import__(name))
    for module, given in GIVEN.items():
        for name in names.intersection(given.split()):
            try:
                setattr(builtins, name, getattr(__import__(module), name))
            except (ImportError, AttributeError):
                pass  # of a later Python, or a package that is not here


def load():
    sys.setrecursionlimit(50000)  # as that harness does
    module = type(sys)("solution")
    sys.modules["solution"] = module
    for path in ("/box/prompt.py", "/box/solution.py"):
        try:
            with open(path, "rb") as file:
                text = file.read()
        except FileNotFoundError:
            continue
        module.__file__ = path
        try:
            code = compile(text, path, "exec", dont_inherit=True)
        except SyntaxError:
            if path == "/box/prompt.py":
                continue  # words, or a head that the program has itself
            raise
        give(code)
        exec(code, module.__dict__)
    return module


def json_parser():
    # The module json takes a fifth of a short program's time; this is its inside.
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(0)
    try:
        from _json import encode_basestring_ascii, make_scanner

        class Plain:
            strict, memo, object_hook, object_pairs_hook = False, {}, None, None
            parse_float, parse_int, parse_constant = float, int, float

        scan = make_scanner(Plain)
        return (lambda text: scan(text, 0)[0]), encode_basestring_ascii
    except ImportError:
        from json import loads
        from json.encoder import encode_basestring_ascii

        return loads, encode_basestring_ascii


