// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace temper::math {

// One spelling of an answer as the MATH dataset's grader makes it (Hendrycks et al., arXiv 2103.03874): no
// spaces, \left, \right, degrees, dollar and percent signs, no unit in \text behind it; dfrac and tfrac are
// frac; \frac12 and a/b are \frac{1}{2}; \sqrt3 is \sqrt{3}; .5 is 0.5 and 0.5 alone \frac{1}{2}; what stands
// before the one = of a short name is left out. Strings only: nothing is evaluated.
std::string MathString(std::string_view answer);

}  // namespace temper::math
