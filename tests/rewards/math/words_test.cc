// SPDX-License-Identifier: Apache-2.0
// Rule `math`: the words, units and times that stand beside an answer.
#include "tests/rewards/math/rows.h"

namespace temper::math {
namespace {

TEST(MathWords, BeforeAnAnswerDoNotHideIt) {
  ExpectRows({
      {R"(42)",
       {R"(The answer is exactly 42.)",
        R"(The answer is therefore 42.)",
        R"(The answer is thus $42$.)",
        R"(The answer is, therefore, 42.)",
        R"(The answer is simply 42)",
        R"(So the final answer is just **42**.)",
        R"(Answer: approximately 42)",
        R"(The answer is approx. 42.)",
        R"(The answer is equal to 42)",
        R"(The answer is given by $42$.)",
        R"(The answer is clearly 42.)",
        R"(The answer is indeed 42.)",
        R"(The answer is hence \(42\).)",
        R"(The answer is a total of 42.)",
        R"(The answer is probably 42.)",
        R"(The answer must be 42.)",
        R"(The answer is: 42)",
        R"(Final Answer: The final answer is $42$. I hope it is correct.)",
        R"(The correct answer is 42.)",
        R"(Hence, the answer is roughly 42.)",
        R"(Thus we conclude that the answer is precisely $42$)",
        R"(The answer is only 42 apples.)",
        R"(The answer = 42)",
        R"(Answer = 42)"},
       {R"(The answer is exactly 43.)", R"(The answer is minus 42.)", R"(The answer is negative 42.)",
        R"(The answer is twice 42.)", R"(The answer is at least 42.)", R"(The answer is at most 42.)",
        R"(The answer is more than 42.)", R"(The answer is less than 42.)", R"(The answer is nearly 42.)",
        R"(The answer is almost 42.)", R"(The answer is half 42.)", R"(The answer is not exactly 42.)",
        R"(The answer is exactly not 42.)", R"(The answer is about 42 million.)",
        R"(The answer is probably 42 million dollars.)", R"(The answer is clearly never 42.)",
        R"(The answer is a + 42.)", R"(The answer is the square root of 42.)",
        R"(The answer is exactly 42 tenths.)"}},
      {R"(\frac{3}{4})",
       {R"(The answer is exactly $\frac{3}{4}$.)", R"(The answer is therefore 3/4.)",
        R"(The answer is about 0.75)", R"(The answer is therefore \frac{3}{4}.)"},
       {R"(The answer is therefore 4/3.)", R"(The answer is exactly 3 or 4.)"}},
      {R"(x^2+1)",
       {R"(The answer is therefore $x^2+1$.)", R"(The answer is x^2+1.)", R"(The answer is simply x^2 + 1)"},
       {R"(The answer is therefore $x^2$ plus 2.)", R"(The answer is simply x^2 - 1)"}},
  });
}

TEST(MathWords, BehindAnAnswerGiveAReason) {
  ExpectRows({
      {R"(42)",
       {R"(The answer is 42, since 40+2=42.)", R"(The answer is 42, because 6*7=42.)",
        R"(The answer is 42 because 6*7=42.)", R"(The answer is $42$, since $6 \cdot 7 = 42$.)",
        R"(The answer is 42, as 6*7 = 42.)", R"(The answer is 42, which is 6*7.)",
        R"(The answer is 42, which is less than 50.)", R"(The answer is 42 (since 40+2 = 42).)",
        R"(The answer is 42 given that 6*7=42)", R"(The answer is 42 due to symmetry.)",
        R"(The answer is 42 as required.)", R"(Answer: 42, because there are 6 rows of 7.)"},
       {R"(The answer is 43, since 42+1=43.)", R"(The answer is 50, because 42 is too small.)",
        R"(The answer is 50, which is more than 42.)", R"(The answer is 6, since 6*7=42.)",
        R"(The answer is not 42, because 42 is even.)", R"(The answer is -42, since 0-42 = -42)"}},
      {R"(5)",
       {R"(The answer is 5 because 6 is too large.)", R"(The answer is $x = 5$, since $x = 6$ fails.)"},
       {R"(The answer is 6 because 5 is too small.)", R"(The answer is $x = 6$, since $x = 5$ fails.)"}},
  });
}

TEST(MathWords, AnExclamationIsNoFactorial) {
  ExpectRows({
      {R"(42)",
       {R"(The answer is 42!)", R"(#### 42!)", R"(The answer is **42**!)", R"(The answer is $42$!)",
        R"(The answer is 42!!!)", R"(The answer is \boxed{42}!)",
        R"(So the answer is 42! I hope this helps.)", R"(Answer: 42!)"},
       {R"(The answer is $42!$)", R"(\boxed{42!})", R"(The answer is 43!)", R"(42! = 5 is the answer: 5)",
        R"(The answer is 42! / 41! + 1)"}},
      {R"(120)",
       {R"(The answer is 5! = 120.)", R"(The answer is $5!$.)", R"(\boxed{5!})", R"(The answer is 120!)"},
       {R"(The answer is 12!)", R"(\boxed{120!})", R"(The answer is $4!$.)"}},
      {R"(5!)",
       {R"(The answer is 5!.)", R"(\boxed{120})", R"(\boxed{5!})", R"(The answer is 5!)"},
       {R"(5)", R"(\boxed{5})", R"(\boxed{4!})"}},
  });
}

TEST(MathWords, UnitsDoNotCount) {
  ExpectRows({
      {R"(12)",
       {R"(\boxed{12\text{ min}})",
        R"(\boxed{12\text{ sec}})",
        R"(\boxed{12\ \mathrm{in}})",
        R"(\boxed{12\,\mathrm{min}})",
        R"(\boxed{12 \text{ inches}})",
        R"(12 min)",
        R"(12 sec)",
        R"(12 in)",
        R"(The answer is 12 m/s.)",
        R"(Answer: 12 h)",
        R"(12 km/h)",
        R"(\boxed{12\text{ m/s}})",
        R"(\boxed{12\ \mathrm{m}/\mathrm{s}})",
        R"(\boxed{12 \mathrm{ft}/\mathrm{sec}})",
        R"(\boxed{12\text{ cm}^2})",
        R"(12 cm²)",
        R"(12 square meters)",
        R"(\boxed{12\ \mathrm{kg}\cdot\mathrm{m}/\mathrm{s}^2})",
        R"(12 N)",
        R"(12 m/s^2)",
        R"(12 mph)",
        R"(\boxed{12~\mathrm{ms}^{-1}})",
        R"(12 hours)",
        R"(12 years old)",
        R"(12 g)",
        R"(12 °C)",
        R"(12^\circ)",
        R"(12 degrees)",
        R"(\boxed{12^{\circ}})",
        R"(12 L)",
        R"(12 kWh)",
        R"(\boxed{12\text{ units}^3})",
        R"(The answer is 12 ft.)",
        R"(12 mL)",
        R"(12 μm)",
        R"(12 Ω)",
        R"(\boxed{12 \, \text{cm}})",
        R"(12 ft/sec)",
        R"(12 per hour)",
        R"(12 miles per hour)"},
       {R"(12x)", R"(\boxed{12k})", R"(12 x)", R"(\boxed{12 \text{ million}})", R"(12 thousand)",
        R"(12 dozen)", R"(\boxed{\frac{12}{s}})", R"(21 min)", R"(1.2 m/s)", R"(120 cm)", R"(12 min 30 s)",
        R"(12^2 cm)", R"(12 hundredths)", R"(\boxed{12\text{ squared}})", R"(12 m 5)", R"(-12 h)"}},
      {R"($12 \mathrm{~min}$)",
       {R"(\boxed{12})", R"(12 minutes)", R"(\boxed{12\text{ min}})", R"(12 min)"},
       {R"(\boxed{21})", R"(1.2)", R"(\boxed{12x})"}},
      {R"(12 m/s)", {R"(12)", R"(12 m/s)", R"(\boxed{12\text{ m/s}})"}, {R"(21 m/s)", R"(1.2)"}},
      {R"(20 $cm^{2}$)",
       {R"(\boxed{20})", R"(20 cm^2)", R"(20\text{ cm}^2)", R"(20)"},
       {R"(400)", R"(2)", R"(cm^2)", R"(\boxed{cm^{2}})"}},
      {R"(15 \text{ feet})",
       {R"(15)", R"(15 ft)", R"(15\text{ ft})", R"(15 feet)"},
       {R"(5)", R"(15^2)", R"(1.5)"}},
      {R"(60^\circ)",
       {R"(60)", R"(60 degrees)", R"(60°)", R"(\angle A = 60^\circ)", R"(60^{\circ})"},
       {R"(30^\circ)", R"(6)", R"(600)"}},
      {R"(12m)", {R"(12m)", R"(12 m)", R"(m \cdot 12)", R"(12\cdot m)"}, {R"(12n)", R"(12m^2)", R"(21m)"}},
      {R"(3x \text{ cm})", {R"(3x)", R"(3x\text{ cm})"}, {R"(3)", R"(3x^2)", R"(x)"}},
      {R"(\frac{3}{4} \text{ cup})",
       {R"(3/4)", R"(0.75 cups)", R"(\frac34\text{ cups})"},
       {R"(4/3)", R"(34)"}},
  });
}

TEST(MathWords, NounsDoNotCount) {
  ExpectRows({
      {R"(72)",
       {R"(72 clips)", R"(\boxed{72 clips})", R"(\boxed{72\text{ clips}})", R"(The answer is 72 clips.)",
        R"(72 clips in total)", R"(72 red balls)", R"(There are 72 clips.)", R"(72 (clips))",
        R"(\boxed{72 \text{ (clips)}})", R"(#### 72 clips)", R"(72 more)"},
       {R"(72 dozen)", R"(72 hundredths)", R"(27 clips)", R"(72 clips and 3 pens)", R"(72 halves)",
        R"(72 clips 3)", R"(72 thirds)", R"(72 minus x)", R"(7.2 clips)", R"(72abc)"}},
      {R"(9 (apples))",
       {R"(\boxed{9})", R"(9 apples)", R"(9)", R"(9 (apples))", R"(9\text{ apples})"},
       {R"(8)", R"(90)", R"(apples)"}},
      {R"(396 (degrees))", {R"(396)", R"(396^\circ)", R"(396 degrees)"}, {R"(369)", R"(36)"}},
      {R"(5 (cm))", {R"(5)", R"(5 cm)"}, {R"(5c)", R"(50)"}},
      {R"(18 eggs)", {R"(18)", R"(18 eggs)", R"(\boxed{18})"}, {R"(81)", R"(eggs)", R"(18 dozen eggs)"}},
      {R"(5 more)", {R"(5)", R"(5 more)"}, {R"(6)", R"(5.5)"}},
      {R"(2(x+1))", {R"(2x+2)", R"(2(x+1))"}, {R"(2)", R"(2x+1)"}},
      {R"(3(ab))", {R"(3ab)"}, {R"(3)", R"(3(apples))"}},
  });
}

TEST(MathWords, TimesOfDayAreTimes) {
  ExpectRows({
      {R"($12:00$)",
       {R"(\boxed{12:00})", R"(12:00)", R"(12:00 PM)", R"(12{:}00)"},
       {R"(12)", R"(12:01)", R"(0)", R"(1:00)", R"(12:30)"}},
      {R"(9:00 AM)",
       {R"(\boxed{9:00 AM})", R"(9:00 a.m.)", R"(9:00\text{ AM})", R"(9 AM)", R"(9:00 am)",
        R"(\boxed{9{:}00\text{ a.m.}})", R"(9:00)", R"(The answer is 9:00 AM.)", R"(The answer is 9:00 a.m.)",
        R"(09:00 AM)"},
       {R"(9:00 PM)", R"(9)", R"(9:30 AM)", R"(8:00 AM)", R"(9 PM)", R"(21:00)"}},
      {R"(2:15 PM)",
       {R"(\boxed{2:15\text{ PM}})", R"(2:15 p.m.)", R"(2:15PM)", R"(14:15)", R"(\boxed{2:15 \text{ p.m.}})"},
       {R"(2:15 AM)", R"(2:15)", R"(2:51 PM)", R"(2/15)", R"(1:15 PM)"}},
      {R"(3:30 p.m.)", {R"(3:30 PM)", R"(3:30 pm)", R"(15:30)"}, {R"(3:30 a.m.)", R"(3)", R"(1:10 p.m.)"}},
      {R"(3:30)",
       {R"(3:30)", R"(\boxed{3:30})", R"(3:30 PM)", R"(3{:}30)"},
       {R"(3:40)", R"(4:30 PM)", R"(3:03)"}},
      {R"(2:3)", {R"(2:3)", R"(2/3)", R"(4:6)", R"(2 : 3)"}, {R"(3:2)", R"(2:30)", R"(23)"}},
      {R"(1:2:3)", {R"(1:2:3)", R"(1 : 2 : 3)"}, {R"(3:2:1)", R"(1:2)"}},
  });
}

TEST(MathWords, AmountsInSeveralUnitsAreCompared) {
  ExpectRows({
      {R"(\text{8 feet 6 inches})",
       {R"(8 ft 6 in)", R"(\boxed{\text{8 feet 6 inches}})"},
       {R"(6 feet 8 inches)", R"(8.6)"}},
      {R"(\text{9:00 AM})", {R"(9:00 AM)", R"(9 a.m.)"}, {R"(9:00 PM)", R"(9)"}},
      {R"(2 hours 30 minutes)",
       {R"(2 hours and 30 minutes)", R"(2 h 30 min)", R"(\boxed{2\text{ hours }30\text{ minutes}})",
        R"(2 hr, 30 min)", R"(2h 30m)"},
       {R"(30 hours 2 minutes)", R"(2 minutes 30 seconds)", R"(2)", R"(2.5)", R"(230)",
        R"(2 hours 20 minutes)"}},
      {R"(5 feet 3 inches)",
       {R"(5 ft 3 in)", R"(\boxed{5\text{ ft }3\text{ in}})"},
       {R"(3 feet 5 inches)", R"(5.3)", R"(53)"}},
      {R"(12 min 30 s)",
       {R"(12 minutes 30 seconds)", R"(12 min and 30 sec)"},
       {R"(12)", R"(12 s 30 min)", R"(12:30)"}},
  });
}

TEST(MathWords, ABoxThatIsOpenOrEmptyAtTheEndIsNoAnswer) {
  ExpectRows({
      {R"(7)",
       {R"(\boxed{7})", R"(\boxed{6}. No: \boxed{7})", R"(I box it: \boxed{ 7 })"},
       {R"(I get \boxed{7}. But wait, let me redo this: \boxed{)", R"(\boxed{7}\boxed{})",
        R"(\boxed{7}, \boxed{ })", R"(\boxed{7} and \boxed{)", R"(\boxed{7} \boxed{\text{}})",
        R"(\boxed{7} so \boxed{7 + )", R"(\boxed{})", R"(\boxed{7)"}},
  });
}

TEST(MathWords, TextAnswersAreCompared) {
  ExpectRows({
      {R"(\text{Tuesday})",
       {R"(Tuesday)", R"(\boxed{\text{Tuesday}})", R"(\boxed{Tuesday})", R"(**Tuesday**)", R"(tuesday)",
        R"(The answer is Tuesday.)"},
       {R"(Thursday)", R"(\text{Monday})", R"(Tues)", R"(2)"}},
      {R"(\text{(B)})",
       {R"(B)", R"((B))", R"(\boxed{B})", R"(\text{B})", R"(\boxed{\textbf{(B)}})", R"(The answer is (B).)",
        R"(The answer is **B**.)"},
       {R"(A)", R"(C)", R"((D))", R"(8)", R"(A or B)"}},
      {R"(even)",
       {R"(\text{even})", R"(\boxed{\text{Even}})", R"(even)"},
       {R"(odd)", R"(\text{neither})", R"(0)"}},
      {R"(No solution)",
       {R"(\text{no solution})", R"(\boxed{\text{No solution}})", R"(no solution)"},
       {R"(0)", R"(one solution)", R"(\text{solution})"}},
      {R"(Yes)", {R"(yes)", R"(\boxed{\text{Yes}})", R"(YES)"}, {R"(No)", R"(1)"}},
      {R"(true)", {R"(True)", R"(\text{true})"}, {R"(false)", R"(\text{not true})"}},
  });
}

}  // namespace
}  // namespace temper::math
