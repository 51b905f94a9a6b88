// SPDX-License-Identifier: Apache-2.0
#include "trainer/update/tied_head.h"

namespace temper {
namespace {

constexpr int kTiedTag = 4;

bool Shared(CausalLm* model) { return model->weights().tied() && model->stack().pipeline().size() > 1; }

}  // namespace

void SendHeadGradient(CausalLm* model) {
  if (Shared(model)) model->stack().SendRows(model->weights().head().gradient, 0, kTiedTag);
}

void AddHeadGradient(CausalLm* model) {
  const Communicator& ranks = model->stack().pipeline();
  if (!model->weights().tied() || ranks.rank() > 0) return;
  if (ranks.size() > 1)
    model->stack().ReceiveRows(model->weights().head().gradient, ranks.size() - 1, kTiedTag);
  model->weights().FoldTiedHead();
}

void ShareTiedGradient(CausalLm* model, float* gradient) {
  if (!Shared(model)) return;
  const Communicator& ranks = model->stack().pipeline();
  const Layout& layout = model->parameters().layout();
  const LayoutEntry& entry = layout.entries()[layout.Find("model.embed_tokens.weight")];
  const Matrix kept = kernels::F32(gradient + entry.offset, 1, entry.elements);
  if (ranks.rank() == 0) {
    model->stack().SendRows(kept, ranks.size() - 1, kTiedTag);
  } else {
    model->stack().ReceiveRows(kept, 0, kTiedTag);
  }
}

}  // namespace temper
