"""Invalid input ends with exit status 2 and one line that names it and what would be right, and leaves no file.

Each case has the words of the command and parts of its line. The model is NARM unless the case names one, and the list
fits the catalogue unless the case is about its length.
"""

import os
import subprocess
import sys

import pytest
import torch
from conftest import write_inter
from pipeline import files_below

from recbole_gro.cli.main import main
from recbole_gro.config.reference import ORDER
from recbole_gro.config.settings import plugin_keys, sections

WITHOUT_GPU = not torch.cuda.is_available()

OURS = {
    "--defense=gor": ["unknown defense 'gor'. Did you mean 'gro'?"],
    "--defense=[]": ["defense: [] is not allowed; it takes a name or a list of different names"],
    "--defense=gro+gro_decoys --gro_epochs=1": ["defense: 'gro+gro_decoys' trains with gro and gro_decoys; choose one"],
    "--defense=gro+": ["defense: 'gro+' lacks a name", "gro+tail_decoy"],
    "--defense=truncate+reverse --head_k=5": ["defense: truncate cuts the list short", "write reverse+truncate"],
    "--served_k=many": ["served_k: 'many' is not allowed; it takes a whole number >= 2"],
    "--served_k=5000": ["served_k: 5000 is too long for a catalogue of 30 items; at most 29"],
    "--served_k=20 --topk=[1,500]": ["topk: position 500 is beyond the served list (served_k=20)"],
    "--defense=truncate --head_k=20": ["head_k: ", "20"],
    "--random_keyed=always": ["random_keyed: 'always' is not allowed; it takes True or False"],
    "--defense_key=hidden": ["defense_key: 'hidden' is not allowed; it takes one of seed, secret"],
    "--gro_lambda=-1": ["gro_lambda: -1 is not allowed; it takes a number >= 0"],
    "--gro_lambda=nan": ["gro_lambda: ", "it takes a number >= 0"],
    "--gro_epochs=1.5": ["gro_epochs: 1.5 is not allowed; it takes a whole number >= 1"],
    "--aow_sequences=0": ["aow_sequences: 0 is not allowed; it takes a whole number >= 1"],
    "--aow_length=1": ["aow_length: 1 is not allowed; it takes a whole number >= 2"],
    "--aow_lowest=1": ["aow_lowest: 1 is not allowed; it takes a whole number >= 2"],
    "--aow_epochs=0": ["aow_epochs: 0 is not allowed; it takes a whole number >= 1"],
    "--aow_learning_rate=0": ["aow_learning_rate: 0 is not allowed; it takes a number > 0"],
    "--aow_weight=0": ["aow_weight: 0 is not allowed; it takes a number > 0"],
    "--injected_share=2": ["injected_share: 2 is not allowed; it takes a number 0 to 1"],
    "--defense=injected --injected_pool=3": ["injected_pool: 3 items are too few for injected_runs=10"],
    "--defense=injected --injected_runs=500": ["injected_pool: 500 items are too few for injected_runs=500"],
    "--defense=injected --injected_length=500": ["injected_pool: 500 items", "injected_length=500"],
    "--defense=injected --benchmark_filename=[a,b,c]": ["benchmark_filename: injected needs complete histories"],
    "--workers=0": ["workers: 0 is not allowed; it takes a whole number 1 to 1024"],
    "--target_epoch=first": ["target_epoch: 'first' is not allowed; it takes one of best, last"],
    "--gro_start=scratch": ["gro_start: 'scratch' is not allowed; it takes one of converged, untrained"],
    "--gro_start=untrained --gro_target_loss=hold": [
        "gro_start: untrained leaves gro_target_loss=hold without a converged target"
    ],
    "--gro_start=untrained --gro_min_quality=0.9": ["gro_start: untrained has no quality for gro_min_quality to keep"],
    "--gro_steps=0": ["gro_steps: 0 is not allowed; it takes a whole number >= 1 or None"],
    "--gro_learning_rate=0": ["gro_learning_rate: 0 is not allowed; it takes a number > 0"],
    "--gro_decay=2": ["gro_decay: 2 is not allowed; it takes True or False"],
    "--gro_swap=asigned": ["unknown gro_swap 'asigned'. Did you mean 'assigned'?"],
    "--gro_head_k=0": ["gro_head_k: 0 is not allowed; it takes a whole number >= 1"],
    "--gro_rows=head": ["gro_rows: 'head' is not allowed; it takes one of all, tail"],
    "--swap_candidates=few": ["swap_candidates: 'few' is not allowed; it takes one of all, outside_head"],
    "--gro_target_loss=theirs": ["gro_target_loss: 'theirs' is not allowed; it takes one of own, hold"],
    "--gro_contexts=queries": ["gro_contexts: 'queries' is not allowed; it takes one of training, mixed"],
    "--gro_min_quality=2": ["gro_min_quality: 2 is not allowed; it takes a number 0 to 1"],
    "--student_model=NARN": ["unknown student_model 'NARN'. Did you mean 'NARM'?"],
    "--student_model=S3Rec": ["student_model: S3Rec cannot serve lists: it needs a pre-training run"],
    "--student_model=nowhere:Model": ["student_model: nowhere:Model: No module named 'nowhere'"],
    "--student_config=absent.yaml": ["config file 'absent.yaml' is neither in"],
    "--margin_rank=-0.5": ["margin_rank: -0.5 is not allowed; it takes a number >= 0"],
    "--margin_negative=wide": ["margin_negative: 'wide' is not allowed; it takes a number >= 0"],
    "--margin_swap=None": ["margin_swap: None is not allowed; it takes a number >= 0"],
    "--paper_code_ties=1": ["paper_code_ties: 1 is not allowed; it takes True or False"],
    "--references=untrain": ["unknown reference 'untrain'. Did you mean 'untrained'?"],
    "--references=3": ["references: 3 is not allowed; it takes a name or a list of different names"],
    "--attack=maybe": ["attack: 'maybe' is not allowed; it takes True or False"],
    "--query_strategy=autoregresive": ["unknown query strategy", "Did you mean 'autoregressive'?"],
    "--query_sequences=0": ["query_sequences: 0 is not allowed; it takes a whole number >= 2"],
    "--query_length=0": ["query_length: 0 is not allowed; it takes a whole number >= 1 or None"],
    "--exclude_seen=maybe": ["exclude_seen: 'maybe' is not allowed; it takes True or False"],
    "--surrogate_averaging=1": ["surrogate_averaging: 1 is not allowed; it takes a number above 0 and below 1 or None"],
    "--access_log=maybe": ["access_log: 'maybe' is not allowed; it takes True or False"],
    "--attacker=hed": ["unknown attacker 'hed'. Did you mean 'head'?"],
    "--attacker=mixed": ["attacker: mixed is a query strategy; use standard+mixed"],
    "--attacker=standard+0": ["attacker: standard+0: sequences have 1 to "],
    "--attacker=head+mixt": ["unknown query strategy 'mixt'. Did you mean 'mixed'?"],
    "--attacker=strongest+mixed": ["attacker: strongest+mixed: strongest is the best of attacker_suite"],
    "--attacker=strongest --attacker_suite=[strongest]": ["strongest is the best of attacker_suite; it has no suffix"],
    "--attacker=strongest --attacker_suite=[hed]": ["unknown attacker 'hed'. Did you mean 'head'?"],
    "--attacker_suite=[]": ["attacker_suite: [] is not allowed; it takes a name or a list of different names"],
    "--attacker_rounds=0": ["attacker_rounds: 0 is not allowed; it takes a whole number >= 1"],
    "--attacker_reproduced=2": ["attacker_reproduced: 2 is not allowed; it takes a number 0 to 1"],
    "--detector=transitions": ["detector: recbole-gro run does not read it; recbole-gro detect, or an experiment on"],
    "--false_positive_rate=0.05": ["false_positive_rate: recbole-gro run does not read it"],
    "--detection_window=50": ["detection_window: recbole-gro run does not read it"],
    "--detector=3": ["detector: 3 is not allowed; it takes a name or a list of different names of detector"],
    "--false_positive_rate=2": ["false_positive_rate: 2 is not allowed; it takes a number above 0 and below 1"],
    "--detection_window=3": ["detection_window: 3 is not allowed; it takes a whole number >= 8"],
    "--mimic_rank_decay=-1": ["mimic_rank_decay: -1 is not allowed; it takes a number >= 0"],
    "--mimic_listed_share=2": ["mimic_listed_share: 2 is not allowed; it takes a number 0 to 1"],
    "--query_random_share=2": ["query_random_share: 2 is not allowed; it takes a number 0 to 1"],
    "--query_rank_decay=-1": ["query_rank_decay: -1 is not allowed; it takes a number >= 0"],
    "--query_coverage=2": ["query_coverage: 2 is not allowed; it takes a number 0 to 1"],
    "--query_choice=nowhere": ["query_choice: 'nowhere' is not allowed; it takes module:function"],
    "--query_choice=nowhere:choose": ["query_choice: nowhere:choose: No module named 'nowhere'"],
    "--surrogate_model=[NARM,NARN]": ["unknown surrogate_model 'NARN'. Did you mean 'NARM'?"],
    "--attacker_head_k=0": ["attacker_head_k: 0 is not allowed; it takes a whole number >= 1 or None"],
    "--attacker=head --attacker_head_k=50": ["attacker_head_k: 50 is past the end of lists of 20"],
    "--attacker_repeats=0": ["attacker_repeats: 0 is not allowed; it takes a whole number >= 1"],
    "--attacker_known_share=2": ["attacker_known_share: 2 is not allowed; it takes a number 0 to 1"],
    "--surrogate_model=Pop": ["surrogate_model: Pop is a general model"],
    "--surrogate_model=DIN": ["surrogate_model: DIN cannot serve lists: it is not a full-ranking model"],
    "--surrogate_model=Hokum": ["unknown surrogate_model 'Hokum'; a custom model is named module:Class"],
    "--surrogate_config=absent.yaml": ["config file 'absent.yaml' is neither in"],
    "--surrogate_knows_features=some": ["surrogate_knows_features: 'some' is not allowed; it takes True or False"],
    "--surrogate_ensemble=0": ["surrogate_ensemble: 0 is not allowed; it takes a whole number >= 1"],
    "--surrogate_epochs=0": ["surrogate_epochs: 0 is not allowed; it takes a whole number >= 1"],
    "--surrogate_learning_rate=fast": ["surrogate_learning_rate: 'fast' is not allowed; it takes a number > 0"],
    "--surrogate_batch_size=0": ["surrogate_batch_size: 0 is not allowed; it takes a whole number >= 1"],
    "--surrogate_min_steps=0": ["surrogate_min_steps: 0 is not allowed; it takes a whole number >= 1"],
    "--surrogate_patience=-1": ["surrogate_patience: -1 is not allowed; it takes a whole number >= 0"],
    "--core_filter=twice": ["core_filter: 'twice' is not allowed; it takes one of repeated, once"],
    "--train_rows=windows": ["train_rows: windows are for masked models"],
    "--mask_last=1.5": ["mask_last: 1.5 is not allowed; it takes a number 0 to 1"],
    "--window_shift=-1": ["window_shift: -1 is not allowed; it takes a number 0 to 1"],
}
RECBOLES = {
    "--seed=-1": ["seed: -1 is not allowed; it takes a whole number 0 to 4294967295"],
    "--seed=abc": ["seed: 'abc' is not allowed; it takes a whole number"],
    "--seed=__import__('os').system('touch made')": ["seed: ", "it takes a whole number"],
    "--state=loud": ["state: 'loud' is not allowed; it takes one of debug, info"],
    "--use_gpu=perhaps": ["use_gpu: 'perhaps' is not allowed; it takes True or False"],
    "--clip_grad_norm=5": ["clip_grad_norm: 5 is not allowed; it takes a mapping"],
    "--clip_grad_norm={'max': 5}": ["clip_grad_norm: {'max': 5} lacks max_norm", "{'max_norm': 5}"],
    "--clip_grad_norm={'max_norm': 5} --enable_scaler=True": ["enable_scaler: RecBole clips gradients that are still"],
    "--metrics=Hit,HIT": ["metrics: Hit, HIT name a metric twice"],
    "--metrics=Hit,NDGC": ["unknown metric 'NDGC'. Did you mean 'ndcg'?"],
    "--clip_grad_norm={'max_norm': 0}": ["clip_grad_norm: max_norm: 0 is not allowed; it takes a number > 0"],
    "--learning_rate=-1": ["learning_rate: -1 is not allowed; it takes a number > 0"],
    "--learner=adan": ["learner: 'adan' is not allowed; it takes one of adam, adamw"],
    "--weight_decay=-0.1": ["weight_decay: -0.1 is not allowed; it takes a number >= 0"],
    "--epochs=0": ["epochs: 0 is not allowed; it takes a whole number >= 1"],
    "--epochs=010": ["epochs: 010 has a leading zero; write 10, or '010' in quotes for a text"],
    "--topk=[1,1:30]": ["topk: 1:30 has colons; write 90, if that is meant"],
    "--epochs=abc": ["epochs: 'abc' is not allowed; it takes a whole number"],
    "--train_batch_size=0": ["train_batch_size: 0 is not allowed; it takes a whole number >= 1"],
    "--eval_batch_size=0": ["eval_batch_size: 0 is not allowed; it takes a whole number >= 1"],
    "--eval_step=-1": ["eval_step: -1 is not allowed; it takes a whole number >= 1"],
    "--stopping_step=-1": ["stopping_step: -1 is not allowed; it takes a whole number >= 0"],
    "-m BERT4Rec --MAX_ITEM_LIST_LENGTH=1": ["MAX_ITEM_LIST_LENGTH: BERT4Rec predicts an item", "takes 2 or more"],
    "--surrogate_model=BERT4Rec --MAX_ITEM_LIST_LENGTH=1": ["MAX_ITEM_LIST_LENGTH: BERT4Rec", "takes 2 or more"],
    "--MAX_ITEM_LIST_LENGTH=0": ["MAX_ITEM_LIST_LENGTH: 0 is not allowed; it takes a whole number >= 1"],
    "-m BERT4Rec --mask_ratio=2": ["mask_ratio: 2 is not allowed; it takes a number 0 to 1"],
    "--hidden_size=wide": ["hidden_size: 'wide' is not allowed; it takes a number (default 128)"],
    "--dropout_probs=[2,2]": [
        "model: cannot work with these settings: NARM: ValueError dropout probability has to be between 0 and 1",
        "(given: dropout_probs=[2, 2])",
    ],
    "-m BERT4Rec --n_heads=3": ["model: cannot work with these settings: ", "hidden size", "(given: n_heads=3)"],
    "-m GRU4Rec --embedding_size=-4": ["embedding_size: -4 is not allowed; it takes a whole number >= 1"],
    "-m GRU4Rec --hidden_size=12.5": ["hidden_size: 12.5 is not allowed; it takes a whole number >= 1"],
    "-m GRU4Rec --num_layers=-1": ["num_layers must be greater than zero", "(given: num_layers=-1)"],
    "--surrogate_model=GRU4Rec --num_layers=-1": ["surrogate: cannot work with", "(given: num_layers=-1)"],
    "-m BERT4Rec --n_layers=0": ["n_layers: 0 is not allowed; it takes a whole number >= 1"],
    "--loss_type=MSE": ["loss_type: 'MSE' is not allowed; it takes one of CE, BPR"],
    "--topk=[]": ["topk: [] is not allowed; it takes one or several different whole numbers >= 1"],
    "--topk=0": ["topk: 0 is not allowed; it takes one or several different whole numbers >= 1"],
    "--topk=[5,5]": ["topk: [5, 5] is not allowed; it takes one or several different whole numbers >= 1"],
    "--checkpoint_dir=[a]": ["checkpoint_dir: [a] is a list; it takes the path of a folder, and"],
    "--checkpoint_dir=None": ["checkpoint_dir: 'None' is not allowed; it takes the path of a folder"],
    "--output_dir=[a]": ["output_dir: [a] is a list; it takes the path of a folder"],
    "--seed=[1,2]": ["seed: [1, 2] is a list; it takes a whole number 0 to 4294967295, and `recbole-gro experiment`"],
    "--gro_lambda=[0.1,1]": ["gro_lambda: [0.1, 1] is a list; it takes a number >= 0, and `recbole-gro experiment`"],
    "--loss_type=[CE]": ["loss_type: [CE] is a list; it takes one of CE, BPR"],
    "-m [BERT4Rec,NARM]": [
        "model: [BERT4Rec,NARM] is a list; it takes one model, and `recbole-gro experiment` compares"
    ],
    "-m BERT4Rec,NARM": ["model: ['BERT4Rec', 'NARM'] is a list; it takes one model, and `recbole-gro experiment`"],
    "--student_model=NARM,SASRec": ["student_model: ['NARM', 'SASRec'] is a list; it takes one model"],
    "--stages_dir={a: 1}": ["stages_dir: '{a: 1}' is not allowed; it takes the path of a folder"],
    "--benchmark_filename=5": ["benchmark_filename: 5 is not allowed; it takes a list of names or None"],
    "--benchmark_filename=[1,2,3]": ["benchmark_filename: [1, 2, 3] is not allowed; it takes a list of names"],
    "--benchmark_filename=[a]": ["benchmark_filename: ['a'] is not a list of three names"],
    "--additional_feat_suffix=['']": ["additional_feat_suffix: [''] is not allowed; it takes a list of names"],
    "--config_file=a.yaml": ["config_file: not supported; --config_files names files"],
    "--world_size=2": ["world_size: not supported; torchrun starts several processes"],
    "--ip=localhost": ["ip: not supported; torchrun starts several processes"],
    "--dataset=[tiny,ml-100k]": ["dataset: [tiny,ml-100k] is not in ", "a run takes one, and `recbole-gro experiment`"],
    "--student_model=[NARM,SASRec]": ["student_model: [NARM,SASRec] is a list; it takes one model"],
    "--student_config=[a.yaml]": ["student_config: [a.yaml] is a list; it takes the path of a yaml file"],
    "--metrics=[Hitt]": ["metrics: unknown metric 'Hitt'. Did you mean 'hit'?"],
    "--metrics=[]": ["metrics: [] is not allowed; it takes a name or a list of different names"],
    "--metrics=[RMSE]": ["metrics: RMSE is measured on ratings; lists have ", "ndcg"],
    "--metrics=[Hit,NDCG,Agreement]": ["metrics: a run always measures agreement"],
    "--metrics=[GAUC]": ["metrics: GAUC needs scores of all items; a service returns lists without scores"],
    "--valid_metric=MRR": [
        "valid_metric: MRR is not measured; it takes METRIC@K, such as Hit@5, of metrics Hit, NDCG, MRR and topk 5, 10"
    ],
    "--valid_metric=MMR@10": ["valid_metric: unknown metric 'MMR'. Did you mean 'mrr'?"],
    "--valid_metric=AUC": ["valid_metric: AUC is measured on ratings; lists have "],
    "--valid_metric=NDCG@500": ["topk: position 500 is beyond the served list (served_k=20)"],
    "--metrics=[Hit] --valid_metric=MRR@10": [
        "valid_metric: MRR@10 is not measured; it takes METRIC@K, such as Hit@5, of metrics Hit and topk"
    ],
    "--topk=[5] --valid_metric=NDCG@10": [
        "valid_metric: NDCG@10 is not measured; it takes METRIC@K, such as Hit@5, of metrics Hit, NDCG and topk 5",
    ],
    "--valid_metric_bigger=False": ["valid_metric_bigger: it is True for NDCG, from which it follows; leave it out"],
    "--valid_metric=GiniIndex@5 --valid_metric_bigger=True": ["valid_metric_bigger: it is False for GiniIndex"],
    "--valid_metric_bigger=1": ["valid_metric_bigger: 1 is not allowed; it takes True or False"],
    "--repeatable=False": ["repeatable: False is not supported; sequential models may recommend an item again"],
    "--train_neg_sample_args={'distribution': 'uniform'}": [
        "train_neg_sample_args: loss_type CE compares all items and samples none"
    ],
    "--train_neg_sample_args=5": ["train_neg_sample_args: 5 is not allowed; it takes a mapping or None"],
    "-m FPMC --train_neg_sample_args={'distribution': 'normal'}": [
        "train_neg_sample_args: distribution: 'normal' is not allowed; it takes one of uniform, popularity"
    ],
    "-m FPMC --train_neg_sample_args={'dynamic':True}": [
        "train_neg_sample_args: dynamic chooses among candidates; add"
    ],
    "-m FPMC --train_neg_sample_args={'number': 2}": ["train_neg_sample_args: unknown part 'number'; "],
    "-m FPMC --train_neg_sample_args={'sample_num': 0}": ["train_neg_sample_args: sample_num: 0 is not allowed"],
    "-m SASRec --transform=mask_itemseq": [
        "transform: mask_itemseq is not for this model, SASRec reads nothing that it"
    ],
    "-m BERT4Rec --transform=crop_itemseq": ["transform: crop_itemseq is not for this model, BERT4Rec takes mask_item"],
    "--transform=mask": ["transform: 'mask' is not allowed; it takes one of mask_itemseq, inverse_itemseq"],
    "--field_separator=": ["field_separator: '' is not allowed; it takes a text"],
    "--local_rank=0": ["local_rank: not supported; a run uses one process"],
    "--metric_decimal_place=0": ["metric_decimal_place: 0 is not allowed; it takes a whole number >= 2"],
    "--eval_args=5": ["eval_args: 5 is not allowed; it takes a mapping"],
    "--eval_args={'splt': 1}": ["eval_args: unknown part 'splt'; did you mean 'split'?"],
    "--eval_args={'split': 'LS'}": ["eval_args: split 'LS' is not allowed; it takes {'LS': 'valid_and_test'}"],
    "--eval_args={'split': {'LS': 'all'}}": ["eval_args: split LS 'all' is not allowed; it takes valid_and_test"],
    "--eval_args={'split': {'RS': [0.8, 0, 0.2]}}": ["eval_args: split RS [0.8, 0, 0.2] is not allowed; it takes the"],
    "--eval_args={'split': {'RS': [0.8, 0.2]}}": ["each above 0, such as [0.8, 0.1, 0.1]"],
    "--eval_args={'split': {'TS': 'valid_and_test'}}": ["eval_args: split TS 'valid_and_test' is not allowed"],
    "--eval_args={'split': {'KF': 5}}": ["eval_args: split {'KF': 5} is not allowed"],
    "--eval_args={'order': 'RO'}": ["eval_args: order 'RO' is not allowed; sequences are split in order of time (TO)"],
    "--eval_args={'group_by': 'item'}": ["eval_args: group_by 'item' is not allowed; it takes user or none"],
    "--eval_args={'mode': 'uni100'}": ["eval_args: mode 'uni100' is not supported"],
    "--eval_args={'mode': {'valid': 'full', 'tset': 'full'}}": ["eval_args: mode {'valid': 'full', 'tset': 'full'}"],
    "--eval_args={'mode': 3}": ["eval_args: mode 3 is not supported; served lists are ranked over all items (full)"],
    "--user_inter_num_interval=5": ["user_inter_num_interval: 5 is no interval; write one such as [5,inf)"],
    "--item_inter_num_interval=[9,5]": ["item_inter_num_interval: '[9, 5]' is no interval"],
    "--user_inter_num_interval=[900,inf)": ["dataset tiny"],
    "--item_inter_num_interval=[nan,5]": ["item_inter_num_interval: '[nan, 5]' is no interval"],
    "--threshold={'rating': 3, 'price': 2}": ["threshold: {'rating': 3, 'price': 2} is not allowed"],
    "--threshold={'rating': 'good'}": ["threshold: rating: 'good' is not allowed; it takes a number"],
    "--discretization={'price': 5}": ["discretization: price: 5 is not allowed; it takes a mapping"],
    "--discretization={'price': {'method': 'ED'}}": ["discretization: price: {'method': 'ED'} lacks a part"],
    "--discretization={'price': {'method': 'XD'}}": ["discretization: price: method: 'XD' is not allowed"],
    "--seq_len={'class': 0}": ["seq_len: class: 0 is not allowed; it takes a whole number >= 1"],
    "--preload_weight=[item_id]": ["preload_weight: ['item_id'] is not allowed; it takes a mapping"],
    "--alias_of_item_id=5": ["alias_of_item_id: 5 is not allowed; it takes a list of names"],
    "--numerical_features=None": ["numerical_features: None is not allowed; it takes a list of names"],
    "--additional_feat_suffix=item": ["additional_feat_suffix: .item is always read"],
    "--unload_col={'inter': 5}": ["unload_col: inter: 5 is not allowed; it takes a list of names"],
    "--load_col=[user_id,item_id]": ["load_col: ['user_id', 'item_id'] is not allowed; it takes a mapping"],
    "--save_dataset=True": ["save_dataset: not supported"],
    "--save_dataloaders=True": ["save_dataloaders: not supported"],
    "--dataset_save_path=a.pth": ["dataset_save_path: not supported; reading a pickled dataset would execute the file"],
    "--nproc=2": ["nproc: 2 is not supported; a run uses one process (nproc=1)"],
}
NAMES = {
    "-m BERT5Rec": ["unknown model 'BERT5Rec'. Did you mean 'BERT4Rec'?"],
    "-m BPR": ["BPR is a general model"],
    "-m LightGBM": ["model: LightGBM"],
    "-m no_such_module:Model": ["model: no_such_module:Model: No module named 'no_such_module'"],
    "--gro_lamda=1": ["unknown key 'gro_lamda'; did you mean 'gro_lambda'?"],
    "--learning_rte=1": ["did you mean 'learning_rate'?"],
    "--query_budget=0": ["unknown key 'query_budget'; did you mean 'query_"],
    "--zzz=0": ["unknown key 'zzz'; NARM reads dropout_probs, embedding_size, hidden_size, "],
    "--batch_size=7": ["unknown key 'batch_size'; use train_batch_size"],
    "--lr=5": ["unknown key 'lr'; use learning_rate"],
    "--hidden_dim=3": ["unknown key 'hidden_dim'; did you mean 'hidden_size'?"],
    "--dropout=0.9": ["unknown key 'dropout'; did you mean 'dropout_probs'?"],
    "--max_len=2": ["unknown key 'max_len'; use MAX_ITEM_LIST_LENGTH"],
    "--patience=1": ["unknown key 'patience'; use stopping_step"],
    "--device=cuda": ["unknown key 'device'; use gpu_id, or use_gpu"],
    "--optimizer=adam": ["unknown key 'optimizer'; use learner"],
    "--eval_setting=RO_RS,full": ["unknown key 'eval_setting'; use eval_args, such as {'split': "],
    "--split_ratio=[0.8,0.1,0.1]": ["unknown key 'split_ratio'; use eval_args, such as {'split': {'RS': "],
    "--leave_one_num=2": ["unknown key 'leave_one_num'; use eval_args, such as {'split': {'LS': "],
    "--group_by_user=True": ["unknown key 'group_by_user'; use eval_args, such as {'group_by': 'user'}"],
    "--training_neg_sample_num=1": ["unknown key 'training_neg_sample_num'; use train_neg_sample_args"],
    "--neg_sampling={'uniform': 1}": ["unknown key 'neg_sampling'; use train_neg_sample_args"],
    "--min_user_inter_num=5": ["unknown key 'min_user_inter_num'; use user_inter_num_interval, such"],
    "--max_user_inter_num=5": ["unknown key 'max_user_inter_num'; use user_inter_num_interval"],
    "--min_item_inter_num=5": ["unknown key 'min_item_inter_num'; use item_inter_num_interval"],
    "--max_item_inter_num=5": ["unknown key 'max_item_inter_num'; use item_inter_num_interval"],
    "--lowest_val={'rating': 3}": ["unknown key 'lowest_val'; use val_interval, such as"],
    "--highest_val={'rating': 3}": ["unknown key 'highest_val'; use val_interval"],
    "--equal_val={'rating': 3}": ["unknown key 'equal_val'; use val_interval"],
    "--not_equal_val={'rating': 3}": ["unknown key 'not_equal_val'; use val_interval"],
    "--real_time_process=True": ["unknown key 'real_time_process'; RecBole does not read it since 1.1"],
    "--drop_filter_field=True": ["unknown key 'drop_filter_field'; RecBole does not read it"],
    "--drop_preload_weight=True": ["unknown key 'drop_preload_weight'; RecBole does not read it"],
    "--probes=20": ["unknown key 'probes'; it is an option of recbole-gro verify"],
    "--histories=x.inter": ["unknown key 'histories'; it is an option of recbole-gro audit"],
    "-d no-such-data": ["no-such-data"],
    "--config_files=gro.yaml,bert4rec.yaml": ["blanks stand between the names of several"],
    "--config_files=grow.yaml": ["config file 'grow.yaml' is neither in", "did you mean gro.yaml?"],
    "--output_dir=": ["output_dir: '' is not allowed; it takes the path of a folder"],
    "--stages_dir=": ["stages_dir: '' is not allowed; it takes the path of a folder"],
    "--checkpoint_dir=": ["checkpoint_dir: '' is not allowed; it takes the path of a folder"],
    "--student_config=": ["student_config: '' is not allowed; it takes the path of a yaml file"],
    "--surrogate_config=": ["surrogate_config: '' is not allowed; it takes the path of a yaml file"],
    "--served_k": ["argument '--served_k' is invalid; settings have the form --KEY=VALUE"],
    "--gro_lambda=1 --gro_lambda=2": ["--gro_lambda is given twice, as '1' and as '2'"],
}


def words_of(case):
    """The words of a case; a new one starts at each ` -`, and an option of one letter has its value behind it."""
    words = [f"-{part.strip()}" for part in f" {case}".split(" -")[1:]]
    return [word for part in words for word in (part.split(" ", 1) if part[1] != "-" else [part])]


@pytest.fixture
def refused(tiny_data_path, tmp_path, monkeypatch, capsys):
    """Run the command in an empty folder: `line = refused("--served_k=3")`."""
    monkeypatch.chdir(tmp_path)

    def run(*words, data_path=tiny_data_path):
        defaults = {"-m": "NARM", "-d": "tiny"}
        if any(word.startswith("--dataset=") for word in words):
            del defaults["-d"]
        options = [word for name, value in defaults.items() if name not in words for word in (name, value)]
        given = "".join(words)
        if "served_k" not in given:
            options += ["--served_k=20"]
        before = files_below(tmp_path)
        code = main([*options, f"--data_path={data_path}", "--show_progress=False", *words])
        errors = capsys.readouterr().err
        assert code == 2, errors
        assert errors.startswith("recbole-gro: error: ")
        assert errors.count("\n") == 1
        assert files_below(tmp_path) == before
        return errors

    return run


@pytest.mark.parametrize("case", [*OURS, *RECBOLES, *NAMES])
def test_an_invalid_setting_is_named(refused, case):
    line = refused(*words_of(case))
    for part in {**OURS, **RECBOLES, **NAMES}[case]:
        assert part in line


def test_every_key_of_this_plugin_has_a_case():
    elsewhere = {"output_dir", "stages_dir", "plugins"}  # below, and in the tests of experiments and plugins
    ours = {key.name for section in ORDER for key in sections()[section]} & set(plugin_keys())
    assert ours - elsewhere <= {word[2:].partition("=")[0] for case in OURS for word in case.split()}


@pytest.mark.parametrize("typo", ["models", "modle", "Model"])
def test_a_mistyped_model_key_is_named(tmp_path, monkeypatch, capsys, typo):
    monkeypatch.chdir(tmp_path)
    assert main([f"--{typo}=BERT4Rec"]) == 2
    assert capsys.readouterr().err == f"recbole-gro: error: unknown key '{typo}'; did you mean 'model'?\n"


def test_a_missing_model_is_reported(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([]) == 2
    assert "model: not set; give --model=NAME" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["-m"], ["-m", "NARM", "--config_files"]], ids=" ".join)
def test_an_option_without_its_value_is_named(capsys, words):
    assert main(words) == 2
    assert "expected one argument" in capsys.readouterr().err


@pytest.mark.skipif(not WITHOUT_GPU, reason="torch sees a GPU")
@pytest.mark.parametrize("gpu", ["0", "7", "0,1", "first"])
def test_a_gpu_that_does_not_exist_is_refused_where_it_is_named(refused, gpu):
    assert "gpu_id: torch sees no GPU" in refused(f"--gpu_id={gpu}")


def test_missing_wandb_is_reported_where_it_is_to_log(refused, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "log_wandb: wandb is not installed; pip install wandb" in refused("--log_wandb=True")


# Content of a dataset's .inter file, and parts of the line on it
HEADER = "user_id:token\titem_id:token\ttimestamp:float\n"
DATA = {
    "no file": (None, ["bad.inter"]),
    "empty": ("", ["bad.inter: the file is empty; its first line names the columns, such as user_id:token"]),
    "blank first line": ("\n" + HEADER, ["bad.inter: line 1 is blank; it names the columns, such as user_id:token"]),
    "header alone": (HEADER, ["bad.inter: there is no line below the first"]),
    "no types": ("user_id\titem_id\ttimestamp\na\tx\t1\n", ["line 1: column 'user_id' is not of the form name:type"]),
    "commas": (HEADER.replace("\t", ","), ["line 1: column 'user_id:token,item_id", "(field_separator)"]),
    "unknown type": (HEADER.replace("item_id:token", "item_id:tokn"), ["column item_id", "did you mean 'token'?"]),
    "twice": (HEADER.replace("item_id", "user_id"), ["line 1: column user_id occurs twice"]),
    "no items": (HEADER.replace("item_id", "movie"), ["no column 'item_id' (ITEM_ID_FIELD)", "movie"]),
    "no timestamps": ("user_id:token\titem_id:token\na\tx\n", ["no column 'timestamp' (TIME_FIELD)"]),
    "time as token": (HEADER.replace("float", "token"), ["(TIME_FIELD) is token; write timestamp:float"]),
    "one value more": (HEADER + "a\tx\t1\t5\n", ["line 2: 4 values for 3 columns (user_id, item_id, timestamp)"]),
    "one value more later": (HEADER + "a\tx\t1\n" * 5 + "a\tx\t1\t9\n", ["line 7: 4 values for 3 columns"]),
    "one value less later": (HEADER + "a\tx\t1\n" * 5 + "a\tx\n", ["bad.inter, line 7: 2 values for 3 columns"]),
    "time is no number": (HEADER + "a\tx\tnoon\n" * 5, ["bad.inter, line 2: timestamp 'noon' is no number"]),
    "NaN timestamp": (HEADER + "a\tx\t1\na\ty\tnan\n", ["bad.inter, line 3: timestamp 'nan' is no finite number"]),
    "infinite timestamp": (HEADER + "a\tx\tinf\n", ["bad.inter, line 2: timestamp 'inf' is no finite number"]),
    "no time": (HEADER + "a\tx\t1\na\tx\t\n", ["bad.inter, line 3: no timestamp; every line needs one"]),
    "no text": (b"\xff\xfe\x00\x01", ["bad.inter, line 1: ", "is not utf-8; set encoding"]),
}


@pytest.mark.parametrize("case", DATA)
def test_an_invalid_dataset_is_named(refused, tmp_path, case):
    content, parts = DATA[case]
    (tmp_path / "data" / "bad").mkdir(parents=True)
    if content is not None:
        raw = content if isinstance(content, bytes) else content.encode()
        (tmp_path / "data" / "bad" / "bad.inter").write_bytes(raw)
    line = refused("-d", "bad", data_path=tmp_path / "data")
    for part in parts:
        assert part in line


@pytest.mark.parametrize("items", ["a", "ab", "abc"])
def test_users_with_too_short_histories_are_reported(refused, tmp_path, items):
    write_inter(tmp_path / "data", {user: list(items) for user in ("ann", "bob", "cid")})
    line = refused("--served_k=2", "--topk=1", "--valid_metric=NDCG@1", data_path=tmp_path / "data")
    assert ("no user has two interactions" if items == "a" else "users with at least 4 interactions") in line


CONFIG_FILES = {
    "no yaml": ("served_k: [1\n", ["bad.yaml: not valid yaml"]),
    "a list": ("- served_k\n- 5\n", ["bad.yaml: `key: value` lines are expected, found list"]),
    "words": ("just words\n", ["bad.yaml: `key: value` lines are expected, found str"]),
    "an object": ("seed: !!python/object/apply:os.mkdir ['made']\n", ["bad.yaml: not valid yaml", "python/object"]),
    "a name": ("seed: !!python/name:os.system\n", ["bad.yaml: not valid yaml"]),
    "no text": (b"\xff\xfe\x00\x01", ["bad.yaml: not valid yaml"]),
    "unknown key": ("servd_k: 5\n", ["unknown key 'servd_k'; did you mean 'served_k'?"]),
    "a list for a name": ("output_dir: [a]\n", ["output_dir: ['a'] is a list; it takes the path of a folder"]),
    "a number in base 8": ("hidden_size: 010\n", ["config file bad.yaml: line 1: 010 has a leading zero; write 10,"]),
    "a number for a key": ("5: 6\n", ["bad.yaml: key 5 is no name"]),
}


@pytest.mark.parametrize("role", ["--config_files", "--student_config", "--surrogate_config"])
@pytest.mark.parametrize("case", CONFIG_FILES)
def test_an_invalid_config_file_is_named(refused, tmp_path, case, role):
    content, parts = CONFIG_FILES[case]
    (tmp_path / "bad.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    line = refused(f"{role}=bad.yaml", "--defense=gro")
    if role != "--config_files" and case in ("unknown key", "a list for a name"):
        parts = [f"{role[2:]}: {content.partition(':')[0]} is no setting of NARM's architecture"]
    for part in parts:
        assert part in line


@pytest.mark.parametrize("role", ["student_config", "surrogate_config"])
@pytest.mark.parametrize(
    ("setting", "remedy"),
    [("learning_rate: 0.1", "set it beside {role}, for all models"), ("gro_lambda: 5", "set it beside {role}"),
     ("dataset: it", "set it beside {role}"), ("hiden_size: 8", "did you mean 'hidden_size'?")],
)  # fmt: skip
def test_a_setting_without_effect_on_an_architecture_is_refused(refused, tmp_path, role, setting, remedy):
    (tmp_path / "bad.yaml").write_text(f"hidden_size: 8\n{setting}\n")
    line = refused(f"--{role}=bad.yaml", "--defense=gro")
    assert f"{role}: {setting.partition(':')[0]} is no setting of NARM's architecture" in line
    assert remedy.format(role=role) in line


def test_a_stages_folder_that_is_a_file_is_named(refused, tmp_path):
    (tmp_path / "taken").write_text("precious")
    assert "stages_dir: taken cannot be made: File exists" in refused("--stages_dir=taken", "--output_dir=made")
    assert (tmp_path / "taken").read_text() == "precious"


def test_an_output_folder_that_is_a_file_is_named(refused, tmp_path):
    (tmp_path / "taken").write_text("precious")
    assert "output_dir: taken cannot be written: File exists" in refused("--output_dir=taken")
    assert "output_dir: taken/deeper cannot be written: Not a directory" in refused("--output_dir=taken/deeper")


def test_an_output_folder_with_other_files_is_refused(refused, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("precious")
    assert "output_dir: taken is not empty; name a new folder" in refused("--output_dir=taken")


def test_an_output_folder_that_cannot_be_made_is_named(refused):
    assert "output_dir: /proc/nowhere cannot be written" in refused("--output_dir=/proc/nowhere")


PROCESSES = {
    "--seed=-1": "seed: -1 is not allowed",
    "--config_files=absent.yaml": "config file 'absent.yaml' is neither in",
    "--data_path=nowhere": "dataset: tiny is not in",
}


@pytest.mark.parametrize("word", PROCESSES)
def test_the_process_prints_exactly_one_line(tiny_data_path, tmp_path, word):
    words = ["-m", "NARM", "-d", "tiny", word]
    words += [] if word.startswith("--data_path") else [f"--data_path={tiny_data_path}"]
    ended = subprocess.run(
        [sys.executable, "-m", "recbole_gro", *words], cwd=tmp_path, env=os.environ, capture_output=True, text=True
    )
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert PROCESSES[word] in ended.stderr
    assert files_below(tmp_path) == []
