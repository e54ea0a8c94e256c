/* Files that fail: in every phase that touches files except training (test_file_training.c), the
 * n-th operation on a file fails, for every n; an injected write leaves half of its bytes, as a
 * full disk does. phases.h says what must hold afterwards. */
#include "phases.h"

TEST(file_save_and_load_a_program) { sweep(arena, FAULT_FILE, "save and load a program"); }
TEST(file_save_and_load_weights) { sweep(arena, FAULT_FILE, "save and load weights"); }
TEST(file_data) { sweep(arena, FAULT_FILE, "data"); }
TEST(file_data_with_a_trained_tokenizer) {
    sweep(arena, FAULT_FILE, "data with a trained tokenizer");
}
TEST(file_data_kept_by_an_earlier_run) { sweep(arena, FAULT_FILE, "data kept by an earlier run"); }
TEST(file_tokenizer) { sweep(arena, FAULT_FILE, "tokenizer"); }
TEST(file_reports) { sweep(arena, FAULT_FILE, "reports"); }
TEST(file_settings) { sweep(arena, FAULT_FILE, "settings"); }
TEST(file_load_a_checkpoint) { sweep(arena, FAULT_FILE, "load a checkpoint"); }
