/* Memory refused: in every phase from building a program to resuming a run, the n-th commit of
 * memory fails, for every n. phases.h says what must hold afterwards. */
#include "phases.h"

TEST(commit_build) { sweep(arena, FAULT_COMMIT, "build"); }
TEST(commit_print_and_parse) { sweep(arena, FAULT_COMMIT, "print and parse"); }
TEST(commit_clone) { sweep(arena, FAULT_COMMIT, "clone"); }
TEST(commit_save_and_load_a_program) { sweep(arena, FAULT_COMMIT, "save and load a program"); }
TEST(commit_compile) { sweep(arena, FAULT_COMMIT, "compile"); }
TEST(commit_step) { sweep(arena, FAULT_COMMIT, "step"); }
TEST(commit_step_of_the_interpreter) { sweep(arena, FAULT_COMMIT, "step of the interpreter"); }
TEST(commit_save_and_load_weights) { sweep(arena, FAULT_COMMIT, "save and load weights"); }
TEST(commit_data) { sweep(arena, FAULT_COMMIT, "data"); }
TEST(commit_data_with_a_trained_tokenizer) {
    sweep(arena, FAULT_COMMIT, "data with a trained tokenizer");
}
TEST(commit_data_kept_by_an_earlier_run) {
    sweep(arena, FAULT_COMMIT, "data kept by an earlier run");
}
TEST(commit_tokenizer) { sweep(arena, FAULT_COMMIT, "tokenizer"); }
TEST(commit_reports) { sweep(arena, FAULT_COMMIT, "reports"); }
TEST(commit_settings) { sweep(arena, FAULT_COMMIT, "settings"); }
TEST(commit_load_a_checkpoint) { sweep(arena, FAULT_COMMIT, "load a checkpoint"); }
TEST(commit_train) { sweep(arena, FAULT_COMMIT, "train"); }
TEST(commit_resume) { sweep(arena, FAULT_COMMIT, "resume"); }
