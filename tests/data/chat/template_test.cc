// SPDX-License-Identifier: Apache-2.0
#include "data/chat/template.h"

#include <stdlib.h>

#include <chrono>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "core/files/file.h"
#include "core/stop.h"
#include "core/text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace temper {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr char kCases[] = "tests/data/chat/template_cases.jsonl";

std::vector<Json> ReadCases() {
  std::vector<Json> rows;
  const absl::StatusOr<std::string> bytes = ReadFile(kCases);
  EXPECT_TRUE(bytes.ok()) << bytes.status().message();
  for (size_t at = 0; bytes.ok() && at < bytes->size();) {
    const size_t end = bytes->find('\n', at);
    rows.push_back(Json::parse(bytes->substr(at, end - at)));
    at = end + 1;
  }
  return rows;
}

absl::StatusOr<RenderedChat> Render(const std::string& source, const ChatInput& input) {
  TEMPER_ASSIGN_OR_RETURN(const ChatTemplate parsed, ChatTemplate::Parse(source, "t.jinja"));
  return parsed.Render(input);
}

// "text of the template [text of the conversation] text of the template"; or the error.
std::string Marked(const std::string& source, const Json& messages, size_t trusted_from = SIZE_MAX) {
  ChatInput input;
  input.messages = messages;
  input.trusted_from = trusted_from;
  const absl::StatusOr<RenderedChat> chat = Render(source, input);
  if (!chat.ok()) return std::string(chat.status().message());
  std::string marked = chat->text;
  for (size_t i = chat->content.size(); i-- > 0;) {
    marked.insert(chat->content[i].end, "]");
    marked.insert(chat->content[i].begin, "[");
  }
  return marked;
}

std::string TemplateError(const std::string& source) {
  const absl::StatusOr<RenderedChat> chat = Render(source, ChatInput());
  if (chat.ok()) return "rendered " + chat->text.substr(0, 100);
  EXPECT_EQ(chat.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(chat.status().message().find('\n'), absl::string_view::npos) << chat.status().message();
  return std::string(chat.status().message());
}

TEST(ChatTemplateTest, RendersWhatTransformersRendersAndFailsWhereItRaises) {
  ASSERT_EQ(setenv("TZ", "UTC", 1), 0);
  const std::vector<Json> rows = ReadCases();
  ASSERT_GT(rows.size(), 300u);
  ChatInput input;
  input.messages = rows[0]["messages"];
  input.tools = rows[0]["tools"];
  input.variables = rows[0]["variables"];
  input.now = absl::FromUnixMicros(rows[0]["now_us"].get<int64_t>());
  for (size_t i = 1; i < rows.size(); ++i) {
    const std::string source = rows[i][0].get<std::string>();
    const absl::StatusOr<RenderedChat> chat = Render(source, input);
    if (rows[i][1].is_null()) {
      EXPECT_FALSE(chat.ok()) << source << "\nrendered " << chat->text;
      continue;
    }
    ASSERT_TRUE(chat.ok()) << source << "\n" << chat.status().message();
    EXPECT_EQ(chat->text, rows[i][1].get<std::string>()) << source;
  }
}

TEST(ChatTemplateTest, MarksFollowTheConversationsTextThroughFiltersAndMethods) {
  const Json messages = {{{"role", "user"}, {"content", " <a> b,c "}}};
  const std::pair<const char*, const char*> cases[] = {
      {"<u>{{ messages[0].content }}</u>", "<u>[ <a> b,c ]</u>"},
      {"{{ messages[0].role + ': ' + messages[0].content | trim }}.", "user: [<a> b,c]."},
      {"{{ messages[0].content.split(',') | join('|') }}", "[ <a> b]|[c ]"},
      {"{{ messages[0].content | replace('b', 'xyz') }}", "[ <a> ]xyz[,c ]"},
      {"{{ messages[0].content | trim | upper }}{{ messages[0].content[1:4] }}", "[<A> B,C<a>]"},
      {"{{ ('<' ~ messages[0].content ~ '>') | trim }}", "<[ <a> b,c ]>"},
      {"{{ '%s!' % messages[0].content }}{{ '({})'.format(messages[0].content) }}",
       "[ <a> b,c ]!([ <a> b,c ])"},
      {"{{ messages[0] | tojson }}", R"({"[role]": "user", "[content]": "[ <a> b,c ]"})"},
      {"{% set x %}({{ messages[0].content }}){% endset %}{{ x | indent }}", "([ <a> b,c ])"},
      {"{% macro f(x) %}<{{ x }}>{% endmacro %}{{ f(messages[0].content) }}", "<[ <a> b,c ]>"},
      {"{% for c in messages[0].content | trim %}{{ c }}-{% endfor %}", "[<]-[a]-[>]-[ ]-[b]-[,]-[c]-"},
      {"{{ messages[0].content | safe + '<' }}", "[ <a> b,c ]&lt;"},
      {"{{ [messages[0].content] }}", "['[ <a> b,c ]']"},
      {"{{ '<a>' if '<a>' in messages[0].content }}{{ messages[0].content == ' <a> b,c ' }}", "<a>True"}};
  for (const auto& [source, marked] : cases) EXPECT_EQ(Marked(source, messages), marked) << source;
  EXPECT_EQ(Marked("{{ messages[0].content }}", messages, 0), " <a> b,c ");
}

TEST(ChatTemplateTest, ErrorsAreOneLineWithTheTemplateTheLineAndWhat) {
  const std::pair<const char*, const char*> cases[] = {
      {"a\n{% if x %}\n", "t.jinja:2: the template ends where elif or else or endif is to come"},
      {"a\n\n{% blurb %}", "t.jinja:3: temper knows no tag blurb"},
      {"a\n{% include 'x' %}", "t.jinja:2: temper knows no tag include"},
      {"a\n{{ 1 | shout }}", "t.jinja:2: temper knows no filter shout"},
      {"a\n{{ 1 is loud }}", "t.jinja:2: temper knows no test loud"},
      {"a\n{{ shout(1) }}", "t.jinja:2: 'shout' is undefined"},
      {"a\n{{ 'x'.encode() }}", "t.jinja:2: the method encode of str is none that temper knows"},
      {"{% if 1 %}\n{{ 1 | shout }}{% endif %}", "t.jinja:2: temper knows no filter shout"},
      {"{{ raise_exception('not\nso') }}", "t.jinja:1: raise_exception: not\\x0aso"},
      {"\n{{ messages[0].content }}", "t.jinja:2: list object has no element 0"},
      {"{{ [].append(1) }}", "t.jinja:1: access to attribute 'append' of 'list' object is unsafe"},
      {"{{ 9223372036854775807 + 1 }}", "t.jinja:1: a whole number is beyond 64 bits"},
      {"{{ 'a\xff' }}", "t.jinja: the template is not UTF-8: byte 6"}};
  for (const auto& [source, error] : cases) EXPECT_EQ(TemplateError(source), error) << source;
}

TEST(ChatTemplateTest, HostileTemplatesEndSoonAndInAnError) {
  const auto repeat = [](const std::string& text, int times) {
    std::string all;
    for (int i = 0; i < times; ++i) all += text;
    return all;
  };
  // "text 0 text 1 text ..", with the numbers where N stands.
  const auto numbered = [](const std::string& text, int times) {
    std::string all;
    for (int i = 0; i < times; ++i)
      absl::StrAppend(&all, absl::StrReplaceAll(text, {{"N", absl::StrCat(i)}}));
    return all;
  };
  // By what ends them: a bound of work or of size, never the clock.
  const std::pair<const char*, std::vector<std::string>> cases[] = {
      {"the template does more than 67108864 steps",
       {"{{ {" + numbered("'kN':0,", 300000) + "} | length }}",
        "{{ dict(" + numbered("aN=0,", 50000) + ") | length }}",
        "{% set n = namespace(" + numbered("aN=0,", 60000) + ") %}", numbered("{% set vN = 1 %}", 200000),
        numbered("{% macro mN() %}{% endmacro %}", 60000),
        "{% with " + numbered("vN=1,", 29999) + "v=1 %}{% endwith %}",
        "{% set n = namespace(x=[1], y=[1]) %}{% for i in range(150) %}{% set n.x = [n.x, n.x] %}"
        "{% set n.y = [n.y, n.y] %}{% endfor %}{{ n.x == n.y }}",
        "{% set s = 'x' * 9000000 %}{% for i in range(99999) %}{% if 'xy' in s %}{% endif %}{% endfor %}",
        "{% set s = 'x' * 9000000 %}{% set t = 'x' * 9000000 %}{% for i in range(99999) %}{% if s == t %}{% "
        "endif %}"
        "{% endfor %}",
        "{% set s = '1' * 9000000 %}{% for i in range(99999) %}{% set n = s.count('2') + s.find('2') %}{% "
        "endfor %}",
        "{% set s = '1' * 9000000 %}{% for i in range(99999) %}{% set n = s.isdigit() %}{% endfor %}",
        "{% set s = 'x' * 900000 %}{% for i in range(99999) %}{% set n = s.split('xxxy') %}{% endfor %}"}},
      {"the template makes a text of more than 16777216 characters",
       {"{% set s = '\\n' * 8000000 %}{% for i in range(1000) %}{% set x = s.splitlines() %}{% endfor %}",
        "{{ 'a' * 10 ** 9 }}", "{{ [1] * 10 ** 12 }}", "{{ 'a' * 9223372036854775807 }}",
        "{{ 'a'.center(10 ** 9) }}{{ 'a' | indent(10 ** 10, true) }}",
        repeat("{% for i in range(99999) %}", 5) + repeat("{% endfor %}", 5),
        "{% set n = namespace(x='ab') %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}",
        "{% set n = namespace(x='ab') %}{% for i in range(99) %}{% set n.x = n.x.replace('a', n.x) %}{% "
        "endfor "
        "%}",
        "{% set n = namespace(x=[1]) %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}",
        "{% set n = namespace(x=[1]) %}{% for i in range(150) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x "
        "}}",
        "{% set n = namespace(x=[1]) %}{% for i in range(150) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x "
        "| "
        "tojson }}",
        "{% for i in range(99999) %}{% for j in range(9999) %}aaaaaaaaaaaaaaaa{% endfor %}{% endfor %}",
        "{% for i in range(99999) %}{% set x = namespace(a=range(9999)) %}{% endfor %}",
        "{{ 'x' * 33000000 }}",
        "{% set s = 'x' * 9000000 %}{% for i in range(99999) %}{% set n = s is lower %}{% endfor %}",
        "{% set s = 'x' * 900000 %}{% for i in range(99999) %}{% set n = [s, s] | unique | list %}{% endfor "
        "%}",
        "{% set s = 'é' * 900000 %}{% for i in range(99999) %}{% set n = s | upper %}{% endfor %}"}},
      {"nested too deep",
       {"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% macro f(n) %}{{ f(n + 1) ~ f(n + 1) }}{% endmacro %}{{ f(0) }}",
        "{% for x in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}",
        "{{ " + repeat("(", 100000) + "1" + repeat(")", 100000) + " }}", "{{ " + repeat("-", 100000) + "1 }}",
        "{{ " + repeat("not ", 100000) + "1 }}", "{{ 1" + repeat(" + 1", 100000) + " }}",
        "{{ 1" + repeat(" if 1 else 1", 100000) + " }}", "{{ x" + repeat(".a", 100000) + " }}",
        "{{ x" + repeat("|upper", 100000) + " }}", "{{ x" + repeat("[0]", 100000) + " }}",
        "{{ x" + repeat("()", 100000) + " }}", repeat("{% if 1 %}", 100000),
        repeat("{% for x in y %}", 100000)}},
      {"",
       {"{% set " + repeat("x", 256) + " = 1 %}", "{% for i in range(10 ** 9) %}{% endfor %}",
        "{{ 10 ** 9 ** 9 }}", "{{ '%1000000000d' % 1 }}", "{{ '{:1000000000}'.format(1) }}",
        "{{ [1] | batch(10 ** 9, 1) | list }}",
        "{% set n = namespace(x=[1]) %}{% for i in range(99999) %}{% set n.x = [n.x] %}{% endfor %}",
        "{{ " + repeat("[", 100000) + " }}"}}};
  for (const auto& [bound, sources] : cases) {
    for (const std::string& source : sources) {
      const auto begin = std::chrono::steady_clock::now();
      EXPECT_THAT(TemplateError(source), AllOf(StartsWith("t.jinja:1: "), HasSubstr(bound)))
          << source.substr(0, 120);
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
      EXPECT_LT(seconds.count(), 60) << source.substr(0, 120);
    }
  }
}

TEST(ChatTemplateTest, ATextMayHaveAsManyCharactersAsTheBoundSaysAndNoneMore) {
  EXPECT_EQ(Marked("{{ ('x' * 16777216) | length }}", Json::array()), "16777216");
  EXPECT_THAT(TemplateError("{{ ('x' * 16777217) | length }}"),
              HasSubstr("a text of more than 16777216 characters"));
}

TEST(ChatTemplateTest, LookingAVariableUpAmongManyIsWorkThatCounts) {
  const std::string lookups = "{% for i in range(60000) %}{% if zz %}{% endif %}{% endfor %}";
  std::string many;
  for (int i = 0; i < 5000; ++i) absl::StrAppend(&many, "{% set v", i, " = 1 %}");
  EXPECT_EQ(Marked(lookups, Json::array()), "");
  EXPECT_THAT(TemplateError(many + lookups), HasSubstr("the template does more than"));
}

// A tuple of two that are the same of two .., 60 deep: as many elements as 2^60, in 60 lists.
TEST(ChatTemplateTest, ANestOfSharedTuplesIsAKeyAtOnce) {
  const std::string nest =
      "{% set n = namespace(a=(1,)) %}{% for i in range(60) %}{% set n.a = (n.a, n.a) %}{% endfor %}";
  EXPECT_EQ(Marked(nest + "{{ {n.a: 1} | length }}", Json::array()), "1");
  EXPECT_EQ(Marked(nest + "{{ [n.a, n.a, n.a] | unique | list | length }}", Json::array()), "1");
  EXPECT_EQ(Marked(nest + "{{ [{'x': n.a}] | unique(attribute='x') | list | length }}", Json::array()), "1");
  EXPECT_EQ(Marked(nest + "{{ {}.get(n.a) }} {{ n.a in {'a': 1} }}", Json::array()), "None False");
  EXPECT_THAT(TemplateError(nest + "{{ {(n.a, [1]): 1} }}"), HasSubstr("tuple is no key of a dict"));
  EXPECT_THAT(TemplateError(nest + "{{ {}[n.a] }}"), HasSubstr("more than"));  // which its message would name
}

TEST(ChatTemplateTest, AStopRequestEndsALongOne) {
  const StopForTest stop;
  for (const std::string source :
       {"{% for i in range(30000) %}{% for j in range(30000) %}{% endfor %}{% endfor %}",
        "{% set s = 'x' * 9000000 %}{{ ('x' * 4000000 ~ 'y') in s }}"}) {
    const absl::Status status = Render(source, {}).status();
    EXPECT_TRUE(absl::IsCancelled(status)) << status;
  }
  EXPECT_EQ(Render("{{ 1 + 1 }}", {})->text, "2");
}

TEST(ChatTemplateTest, ALongTextIsSearchedForALongOneInTimeOfTheirLengths) {
  EXPECT_EQ(
      Marked("{% set s = 'x' * 9000000 %}{{ ('x' * 4000000 ~ 'y') in s }}{{ s.rfind('y' ~ 'x' * 4000000) }}"
             "{{ s.count('x' * 4000000) }}",
             Json::array()),
      "False-12");
  EXPECT_EQ(Marked("{% set n = 'abcabcabcabcabcabd' %}{{ ('abcabcabcabcabcabcabcabd' ~ n).find(n) }} "
                   "{{ ('-' ~ n ~ '-' ~ n ~ '-').rfind(n) }} {{ ('-' ~ n ~ '-').replace(n, 'x') }} "
                   "{{ (n ~ 'a' ~ n).split(n) | join('|') }}",
                   Json::array()),
            "6 20 -x- |a|");
}

TEST(ChatTemplateTest, ABrokenTemplateRendersOrIsAnErrorNeverMore) {
  const std::vector<Json> rows = ReadCases();
  ChatInput input;
  input.messages = rows[0]["messages"];
  input.variables = rows[0]["variables"];
  std::mt19937 draw(7);
  const std::string pieces[] = {"{%",    "%}",   "{{",   "}}",     "{#",           "#}",   "-",    "(", ")",
                                "[",     "]",    "'",    "\"",     "\\",           "\xff", "🙂", "|", "~",
                                " for ", " in ", " if ", " else ", "{% endfor %}", ".",    ",",    "0", "\n",
                                "\r",    "**"};
  for (size_t i = 1; i < rows.size(); ++i) {
    for (int change = 0; change < 8; ++change) {
      std::string source = rows[i][0].get<std::string>();
      const size_t at = draw() % (source.size() + 1);
      if (change % 2 == 0) {
        source.insert(at, pieces[draw() % std::size(pieces)]);
      } else {
        source.erase(at, draw() % 4);
      }
      const absl::StatusOr<RenderedChat> chat = Render(source, input);
      if (chat.ok()) continue;
      EXPECT_THAT(std::string(chat.status().message()), HasSubstr("t.jinja:"));
    }
  }
}

TEST(ChatTemplateTest, IsSharedByThreadsAndKeepsNothingOfARender) {
  const absl::StatusOr<ChatTemplate> parsed = ChatTemplate::Parse(
      "{% set n = namespace(i=0) %}{% for m in messages %}{% set n.i = n.i + 1 %}{% endfor %}{{ n.i }}", "t");
  ASSERT_TRUE(parsed.ok());
  ChatInput input;
  for (const char* count : {"1", "2", "3"}) {
    input.messages.push_back({{"role", "user"}, {"content", "x"}});
    const absl::StatusOr<RenderedChat> chat = parsed->Render(input);
    ASSERT_TRUE(chat.ok());
    EXPECT_EQ(chat->text, count);
  }
}

}  // namespace
}  // namespace temper
