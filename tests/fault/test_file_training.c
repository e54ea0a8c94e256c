/* Files that fail while a run trains or resumes: the n-th operation on a file fails, for every n,
 * in its settings, metrics, plot and checkpoints. phases.h says what must hold afterwards: above
 * all that the newest checkpoint is one that the undisturbed run had. */
#include "phases.h"

TEST(file_train) { sweep(arena, FAULT_FILE, "train"); }
TEST(file_resume) { sweep(arena, FAULT_FILE, "resume"); }
