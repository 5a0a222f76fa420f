"""A sequential model of one's own, the smallest there is: a history is the mean of its items' embeddings.

    cd examples
    recbole-gro -m mean_of_items:MeanOfItems --config_files=mean_of_items.yaml
    recbole-gro check-model mean_of_items:MeanOfItems

It implements what RecBole requires of a sequential model; the default scorer serves it, and nothing is registered.
Its setting `embedding_size` is accepted because the class names it.
"""

from recbole.model.abstract_recommender import SequentialRecommender
from torch import nn


class MeanOfItems(SequentialRecommender):
    """Scores of all items are the inner products of their embeddings with the mean of the history's."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.item_embedding = nn.Embedding(self.n_items, config["embedding_size"] or 64, padding_idx=0)
        self.output = nn.Linear(self.item_embedding.embedding_dim, self.n_items)
        self.loss = nn.CrossEntropyLoss()

    def forward(self, item_seq, item_seq_len):
        """[B, n_items] from ids [B, L], padded right with 0, and lengths [B]."""
        mean = self.item_embedding(item_seq).sum(1) / item_seq_len.unsqueeze(1)
        return self.output(mean)

    def calculate_loss(self, interaction):
        return self.loss(self.full_sort_predict(interaction), interaction[self.POS_ITEM_ID])

    def full_sort_predict(self, interaction):
        return self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])

    def predict(self, interaction):
        scores = self.full_sort_predict(interaction)
        return scores.gather(1, interaction[self.ITEM_ID].unsqueeze(1)).squeeze(1)
