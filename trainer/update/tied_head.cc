// SPDX-License-Identifier: Apache-2.0
#include "trainer/update/tied_head.h"

namespace temper {
namespace {

constexpr int kTiedTag = 4;

bool Shared(const CausalLm& model) { return model.weights().tied() && model.mesh().sizes().pp > 1; }

}  // namespace

bool HasHeadBeside(const CausalLm& model) { return model.weights().tied() && !Shared(model); }

void SendHeadGradient(CausalLm* model) {
  if (Shared(*model)) model->stack().SendRows(model->weights().head().gradient, 0, kTiedTag);
}

void AddHeadGradient(CausalLm* model) {
  Weights& weights = model->weights();
  if (TokenRows* const rows = weights.embedding_rows()) return rows->MoveTo(weights.embedding().gradient);
  if (!Shared(*model)) return;
  weights.AcquireGradients(UnitGradients::kTiedHead);
  model->stack().ReceiveRows(weights.head().gradient, model->stack().pipeline().size() - 1, kTiedTag);
  weights.ReleaseGradients();
  weights.FoldTiedHead();
}

void ShareTiedGradient(CausalLm* model, float* gradient) {
  if (!Shared(*model)) return;
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
